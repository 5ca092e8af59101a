"""Commitments under attack: forged, replayed, skipped, equivocating, about other chunks or results."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bodies import Commitment, Receipt
from protocol.commitments import check_commitment, commit
from protocol.errors import BadFrame, BadSignature, LocalError
from protocol.ids import ChunkId, JobId, LeaseId, digest
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.signing import Envelope, Identity

WORKER = Identity(bytes([1]) * 32)
OTHER = Identity(bytes([2]) * 32)
JOB, LEASE = JobId("job"), LeaseId("lease")
ENVIRONMENT = digest(b"environment")
RESULTS = [(ChunkId(n), digest(bytes([n]))) for n in (4, 1, 7)]


def committed(identity: Identity = WORKER, *, sequence: int = 3, results: list[tuple[ChunkId, bytes]] = RESULTS,
              job: JobId = JOB, lease: LeaseId = LEASE) -> Envelope:  # fmt: skip
    return commit(identity, job=job, lease=lease, sequence=sequence, results=results, environment=ENVIRONMENT)


def check(envelope: Envelope, results: list[tuple[ChunkId, bytes]] = RESULTS, sequence: int = 3) -> Commitment:
    return check_commitment(envelope, results, worker=WORKER.peer_id, job=JOB, lease=LEASE, sequence=sequence)


@given(st.dictionaries(st.integers(0, 2**53).map(ChunkId), st.binary(min_size=32, max_size=32), min_size=1))
def test_a_commitment_says_what_was_committed(results: dict[ChunkId, bytes]) -> None:
    commitment = check(committed(results=list(results.items())), list(results.items()))
    assert commitment.chunks == tuple(results)
    assert commitment.environment == ENVIRONMENT


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
    receipt = Receipt(job=JOB, lease=LEASE, sequence=3, worker=WORKER.peer_id, chunks=(), credits=1.0, price=1.0)
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
        (committed(), [(ChunkId(5), RESULTS[0][1]), *RESULTS[1:]], "its chunks are not those"),
        (committed(), [], "its chunks are not those"),
        (committed(), [(RESULTS[0][0], digest(b"?")), *RESULTS[1:]], "its root does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(
    envelope: Envelope, results: list[tuple[ChunkId, bytes]], story: str
) -> None:
    with pytest.raises(BadFrame, match=story):
        check(envelope, results)


def test_a_worker_that_equivocates_is_refused_the_second_time() -> None:
    check(committed())
    second = committed(results=[(chunk, digest(b"another")) for chunk, _ in RESULTS])
    with pytest.raises(BadFrame, match="replayed"):
        check(second, [(chunk, digest(b"another")) for chunk, _ in RESULTS], sequence=4)


def test_a_hand_made_commitment_to_a_chunk_twice_is_refused() -> None:
    twice = [RESULTS[0], RESULTS[0]]
    honest = check(committed())
    body = msgspec.structs.replace(honest, chunks=(RESULTS[0][0],) * 2)
    with pytest.raises(BadFrame, match="a chunk is there twice"):
        check(WORKER.sign(body), twice)


@pytest.mark.parametrize("results", [[], [RESULTS[0], RESULTS[0]], RESULTS[:1] * (CHUNKS_PER_BATCH_MAX + 1)])
def test_what_cannot_be_committed_to_is_our_mistake(results: list[tuple[ChunkId, bytes]]) -> None:
    with pytest.raises(LocalError, match="a commitment is to 1 to"):
        committed(results=results)
