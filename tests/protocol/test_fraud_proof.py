"""Fraud proofs: what they prove, and that nothing else can be made to look like one."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import encoding
from protocol.bodies import Manifest
from protocol.commitments import CommitmentTerms, Committed, SignedBatch, commit
from protocol.errors import BadFrame, BadSignature, RemoteError
from protocol.fraud_proof import MAGIC, Claim, FraudProof, Verdict, decode_proof, judge, make_proof, open_proof
from protocol.ids import ChunkId, JobId, LeaseId, digest
from protocol.signing import Identity

WORKER, COORDINATOR, OTHER = (Identity(bytes([n]) * 32) for n in (1, 2, 3))
MANIFEST = COORDINATOR.sign(Manifest(job=JobId("job"), runtime="python", code=b"def run(item): ..."))
ENVIRONMENT = digest(b"environment")
INPUT = encoding.encode([1, 2])
RIGHT = encoding.encode([[True, 1], [True, 4]])
WRONG = encoding.encode([[True, 1], [True, 5]])
FAILED = encoding.encode([[True, 1], [False, "ValueError", "no", "Traceback"]])
FAILED_ELSEWHERE = encoding.encode([[True, 1], [False, "ValueError", "no!", "another path"]])


def batch(results: dict[int, bytes], signer: Identity = WORKER, environment: bytes = ENVIRONMENT) -> SignedBatch:
    """The commitment to these results, all of the same input."""
    terms = CommitmentTerms(JobId("job"), LeaseId("lease"), digest(MANIFEST.body), environment)
    listed = [Committed(ChunkId(chunk), digest(INPUT), digest(data)) for chunk, data in results.items()]
    return SignedBatch(commit(signer, terms, 0, listed), tuple(listed))


def proof(result: bytes = WRONG, *, shown: bytes = b"", **changes: object) -> FraudProof:
    """A proof about one of five results."""
    made = make_proof(batch({7: RIGHT, 8: RIGHT, 9: result, 10: RIGHT, 11: RIGHT}), ChunkId(9), MANIFEST, INPUT, shown)
    return msgspec.structs.replace(made, **changes)


def claim(result: bytes = WRONG, shown: bytes = b"") -> Claim:
    return open_proof(proof(result, shown=shown))


@given(count=st.integers(1, 256), data=st.data())
def test_the_proof_about_any_result_of_a_batch_holds(count: int, data: st.DataObject) -> None:
    chunk = data.draw(st.integers(0, count - 1))
    made = make_proof(batch(dict.fromkeys(range(count), WRONG)), ChunkId(chunk), MANIFEST, INPUT, b"")
    opened = open_proof(decode_proof(made.encode()))
    assert (opened.accused, opened.coordinator, opened.chunk) == (WORKER.peer_id, COORDINATOR.peer_id, chunk)
    assert (opened.input, opened.result_digest, opened.items) == (INPUT, digest(WRONG), 2)


def _resigned(envelope: object, signer: Identity) -> object:
    return msgspec.structs.replace(envelope, signer=signer.peer_id)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("forged", "error", "story"),
    [
        (proof(manifest=_resigned(MANIFEST, OTHER)), BadSignature, "not valid"),
        (proof(manifest=OTHER.sign(Manifest(job=JobId("job"), runtime="python", code=b"x"))), BadFrame, "other code"),
        (proof(commitment=_resigned(proof().commitment, OTHER)), BadSignature, "not valid"),
        (proof(commitment=MANIFEST), BadSignature, "not valid"),
        (proof(input=encoding.encode([1, 3])), BadFrame, "not those that were committed to"),
        (proof(result_digest=digest(b"another")), BadFrame, "not those that were committed to"),
        (proof(shown=RIGHT), BadFrame, "the result in it is not the one"),
        (proof(index=1), BadFrame, "not those that were committed to"),
        (proof(index=5), BadFrame, "no result number 5"),
        (proof(index=2**53), BadFrame, "no result number"),
        (proof(path=()), BadFrame, "not those that were committed to"),
        (proof(path=proof().path[::-1]), BadFrame, "not those that were committed to"),
    ],
)
def test_what_the_accused_did_not_sign_proves_nothing(forged: FraudProof, error: type[RemoteError], story: str) -> None:
    with pytest.raises(error, match=story):
        open_proof(forged)


def test_a_proof_about_another_input_than_a_list_of_items_is_refused() -> None:
    empty = encoding.encode([])
    terms = CommitmentTerms(JobId("job"), LeaseId("lease"), digest(MANIFEST.body), ENVIRONMENT)
    listed = [Committed(ChunkId(1), digest(empty), digest(WRONG))]
    made = SignedBatch(commit(WORKER, terms, 0, listed), tuple(listed))
    with pytest.raises(BadFrame, match="no list of items"):
        open_proof(make_proof(made, ChunkId(1), MANIFEST, empty, b""))


@given(st.binary(max_size=200))
def test_files_of_any_bytes_are_refused(data: bytes) -> None:
    for content in (data, MAGIC + data):
        with pytest.raises(RemoteError):
            open_proof(decode_proof(content))


@given(st.integers(0, len(proof().encode()) - 1), st.integers(1, 255))
def test_a_flipped_byte_anywhere_is_noticed_or_changes_nothing(place: int, flip: int) -> None:
    data = bytearray(proof().encode())
    data[place] ^= flip
    try:
        opened = open_proof(decode_proof(bytes(data)))
    except RemoteError:
        return
    assert opened == claim()  # The name of the empty field was hit, and fields that are not known are ignored.


@pytest.mark.parametrize(
    ("signed", "shown", "replays", "verdict"),
    [
        (WRONG, b"", [RIGHT, RIGHT], Verdict.PROVEN),
        (WRONG, WRONG, [RIGHT, RIGHT], Verdict.PROVEN),
        (RIGHT, b"", [RIGHT, RIGHT], Verdict.REFUTED),
        (RIGHT, b"", [RIGHT, WRONG], Verdict.OPEN),
        (FAILED, b"", [RIGHT, RIGHT], Verdict.PROVEN),
        (FAILED, b"", [FAILED_ELSEWHERE, FAILED_ELSEWHERE], Verdict.OPEN),
        (FAILED, FAILED, [FAILED_ELSEWHERE, FAILED], Verdict.REFUTED),
        (WRONG, WRONG, [FAILED, FAILED], Verdict.PROVEN),
        (WRONG, b"", [FAILED, FAILED], Verdict.OPEN),
    ],
)
def test_executions_decide(signed: bytes, shown: bytes, replays: list[bytes], verdict: Verdict) -> None:
    assert judge(claim(signed, shown), replays, ENVIRONMENT)[0] is verdict


def test_in_another_environment_a_difference_proves_nothing_but_agreement_does() -> None:
    other = digest(b"another environment")
    assert judge(claim(WRONG), [RIGHT, RIGHT], other)[0] is Verdict.OPEN
    assert judge(claim(RIGHT), [RIGHT, RIGHT], other)[0] is Verdict.REFUTED
    assert judge(replace(claim(WRONG), environment=other), [RIGHT, RIGHT], other)[0] is Verdict.PROVEN
