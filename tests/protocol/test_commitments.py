"""Commitments under attack: forged, replayed, skipped, equivocating, about other chunks or results."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bodies import Commitment, Receipt
from protocol.commitments import CommitmentTerms, Committed, SignedBatch, check_commitment, commit
from protocol.errors import BadFrame, BadSignature, LocalError
from protocol.ids import ChunkId, JobId, LeaseId, digest
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.signing import Envelope, Identity, open_envelope

WORKER = Identity(bytes([1]) * 32)
OTHER = Identity(bytes([2]) * 32)
TERMS = CommitmentTerms(JobId("job"), LeaseId("lease"), digest(b"manifest"), digest(b"environment"))
RESULTS = [Committed(ChunkId(n), digest(b"input"), digest(bytes([n]))) for n in (4, 1, 7)]
DIGESTS = st.binary(min_size=32, max_size=32)


def committed(identity: Identity = WORKER, *, sequence: int = 3, results: list[Committed] = RESULTS,
              **terms: object) -> Envelope:  # fmt: skip
    return commit(identity, replace(TERMS, **terms), sequence, results)


def check(envelope: Envelope, results: list[Committed] = RESULTS, sequence: int = 3) -> SignedBatch:
    return check_commitment(envelope, TERMS, sequence, results, WORKER.peer_id)


@given(st.dictionaries(st.integers(0, 2**53).map(ChunkId), st.tuples(DIGESTS, DIGESTS), min_size=1))
def test_a_commitment_says_what_was_committed(results: dict[ChunkId, tuple[bytes, bytes]]) -> None:
    listed = [Committed(chunk, *digests) for chunk, digests in results.items()]
    batch = check(committed(results=listed), listed)
    assert batch.results == tuple(listed)
    assert open_envelope(batch.envelope, Commitment).chunks == tuple(results)


def test_one_by_somebody_else_is_refused() -> None:
    with pytest.raises(BadSignature, match="expected"):
        check(committed(OTHER))


def test_one_by_somebody_else_under_the_name_of_the_worker_is_refused() -> None:
    with pytest.raises(BadSignature, match="not valid"):
        check(msgspec.structs.replace(committed(OTHER), signer=WORKER.peer_id))


def test_a_body_changed_after_signing_is_refused() -> None:
    envelope = committed()
    forged = msgspec.structs.replace(envelope, body=committed(results=RESULTS[:1]).body)
    with pytest.raises(BadSignature, match="not valid"):
        check(forged, RESULTS[:1])


def test_another_signed_thing_of_the_worker_is_not_a_commitment() -> None:
    receipt = Receipt(
        job=TERMS.job, lease=TERMS.lease, sequence=3, worker=WORKER.peer_id, chunks=(), credits=1.0, price=1.0
    )
    with pytest.raises(BadSignature, match="not valid"):
        check(WORKER.sign(receipt))


@pytest.mark.parametrize(
    ("envelope", "results", "story"),
    [
        (committed(sequence=2), RESULTS, "replayed: number 3 is due"),
        (committed(sequence=4), RESULTS, "skipped: number 3 is due"),
        (committed(job=JobId("another")), RESULTS, "another job or lease"),
        (committed(lease=LeaseId("another")), RESULTS, "another job or lease"),
        (committed(), RESULTS[:2], "its chunks are not those"),
        (committed(), [RESULTS[1], RESULTS[0], RESULTS[2]], "its chunks are not those"),
        (committed(), [replace(RESULTS[0], chunk=ChunkId(5)), *RESULTS[1:]], "its chunks are not those"),
        (committed(), [], "its chunks are not those"),
        (committed(), [replace(RESULTS[0], result=digest(b"?")), *RESULTS[1:]], "its root does not fit"),
        (committed(), [replace(RESULTS[0], input=digest(b"?")), *RESULTS[1:]], "its root does not fit"),
        (committed(manifest=digest(b"?")), RESULTS, "about another manifest"),
        (committed(environment=digest(b"?")), RESULTS, "not the one that was announced"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(envelope: Envelope, results: list[Committed], story: str) -> None:
    with pytest.raises(BadFrame, match=story):
        check(envelope, results)


def test_a_worker_that_equivocates_is_refused_the_second_time() -> None:
    check(committed())
    others = [replace(one, result=digest(b"another")) for one in RESULTS]
    second = committed(results=others)
    with pytest.raises(BadFrame, match="replayed"):
        check(second, others, sequence=4)


def test_a_hand_made_commitment_to_a_chunk_twice_is_refused() -> None:
    twice = [RESULTS[0], RESULTS[0]]
    honest = open_envelope(committed(), Commitment)
    body = msgspec.structs.replace(honest, chunks=(RESULTS[0].chunk,) * 2)
    with pytest.raises(BadFrame, match="a chunk is there twice"):
        check(WORKER.sign(body), twice)


@pytest.mark.parametrize("results", [[], [RESULTS[0], RESULTS[0]], RESULTS[:1] * (CHUNKS_PER_BATCH_MAX + 1)])
def test_what_cannot_be_committed_to_is_our_mistake(results: list[Committed]) -> None:
    with pytest.raises(LocalError, match="a commitment is to 1 to"):
        committed(results=results)
