"""Fraud proofs: a wrong result, shown so that anyone can check it and needs to trust nobody (DESIGN section 8).

A worker's commitment says: this code gives this result of this input, in this environment. Together with the code
and the input, whoever can execute the code sees whether that is true. `open_proof` checks what can be checked
without executing, `judge` what executions say.

Not proof against everything: code that looks at the clock gives something else later, so that its author could
accuse an honest worker. Whoever believes a proof bans for `protocol/trust.py:COOL_DOWN_S` and no longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from protocol import encoding
from protocol.bodies import Commitment, Manifest
from protocol.commitments import Committed, SignedBatch
from protocol.comparators import Comparator, Kind, parse_comparator
from protocol.errors import BadFrame, LocalError
from protocol.ids import ChunkId, PeerId, digest
from protocol.limits import CHUNK_INPUT_BYTES_MAX, CHUNK_RESULT_BYTES_MAX, CODE_SIZE_BYTES_MAX, KIB
from protocol.merkle import check_proof, merkle_proof
from protocol.messages.base import Count, Digest, Part, from_plain, to_plain
from protocol.outcomes import decode_outcomes
from protocol.signing import Envelope, open_envelope

PATH_LENGTH_MAX = 16
"""Digests beside a path: a batch has 256 results at most."""
PROOF_BYTES_MAX = CHUNK_INPUT_BYTES_MAX + CHUNK_RESULT_BYTES_MAX + CODE_SIZE_BYTES_MAX + 64 * KIB
MAGIC = b"parallel-peer fraud proof 1\n"
"""The first bytes of a file with one."""


class FraudProof(Part, frozen=True, kw_only=True):
    """What a coordinator has in hand against a worker; `result` is empty where its digest is enough."""

    manifest: Envelope
    commitment: Envelope
    index: Count
    path: Annotated[tuple[Digest, ...], Meta(max_length=PATH_LENGTH_MAX)]
    input: Annotated[bytes, Meta(max_length=CHUNK_INPUT_BYTES_MAX)]
    result_digest: Digest
    result: Annotated[bytes, Meta(max_length=CHUNK_RESULT_BYTES_MAX)] = b""

    def encode(self) -> bytes:
        """As it is written into a file."""
        return MAGIC + encoding.encode(to_plain(self))


@dataclass(frozen=True, slots=True)
class Claim:
    """What the accused has signed: the code of `manifest` gives `result_digest` of `input`."""

    accused: PeerId
    coordinator: PeerId
    manifest: Manifest
    environment: bytes
    chunk: ChunkId
    items: int
    input: bytes
    result_digest: bytes
    result: bytes


class Verdict(StrEnum):
    """What executions say about a claim."""

    PROVEN = "proven"
    """The claim is wrong."""
    REFUTED = "refuted"
    """The claim is right, and the accusation wrong."""
    OPEN = "open"
    """Nobody can tell, at least not here."""


def make_proof(batch: SignedBatch, chunk: ChunkId, manifest: Envelope, payload: bytes, result: bytes) -> FraudProof:
    """The proof about one chunk of a batch, `result` may be empty; raises `ValueError` when the chunk is not in it."""
    index = [one.chunk for one in batch.results].index(chunk)
    return FraudProof(
        manifest=manifest,
        commitment=batch.envelope,
        index=index,
        path=merkle_proof([one.leaf() for one in batch.results], index),
        input=payload,
        result_digest=batch.results[index].result,
        result=result,
    )


def decode_proof(data: bytes) -> FraudProof:
    """The proof in a file; raises `BadFrame`."""
    if not data.startswith(MAGIC):
        raise BadFrame("this is no fraud proof: it does not begin as one")
    if len(data) > PROOF_BYTES_MAX:
        raise BadFrame(f"a fraud proof has at most {PROOF_BYTES_MAX} bytes, not {len(data)}")
    return from_plain(encoding.decode_canonical(data[len(MAGIC) :]), FraudProof)


def open_proof(proof: FraudProof) -> Claim:
    """The claim, with all signatures and digests checked; raises `BadSignature` or `BadFrame`.

    After it, it is certain that the accused has signed this result of this code and this input.
    """
    manifest = open_envelope(proof.manifest, Manifest)
    commitment = open_envelope(proof.commitment, Commitment)
    if proof.index >= len(commitment.chunks):
        raise BadFrame(f"the commitment has no result number {proof.index}")
    claimed = Committed(commitment.chunks[proof.index], digest(proof.input), proof.result_digest)
    if problem := _problem(proof, commitment, claimed):
        raise BadFrame(f"this proves nothing: {problem}")
    return Claim(
        accused=proof.commitment.signer,
        coordinator=proof.manifest.signer,
        manifest=manifest,
        environment=commitment.environment,
        chunk=claimed.chunk,
        items=_count_items(proof.input),
        input=proof.input,
        result_digest=proof.result_digest,
        result=proof.result,
    )


def judge(claim: Claim, replays: Sequence[bytes], environment: bytes) -> tuple[Verdict, str]:
    """The verdict, and why, given the results of two or more executions of `claim` in this environment."""
    try:
        comparator = parse_comparator(claim.manifest.compare)
    except LocalError as error:
        return Verdict.OPEN, str(error)
    if not all(comparator.same(replays[0], replay) for replay in replays):
        return Verdict.OPEN, "the code gives something else each time it runs here"
    if digest(replays[0]) == claim.result_digest or (claim.result and comparator.same(claim.result, replays[0])):
        return Verdict.REFUTED, "the result is right: executing the code here gives the same"
    if problem := _not_comparable(claim, comparator):
        return Verdict.OPEN, problem
    if environment != claim.environment:
        return (
            Verdict.OPEN,
            "the result here is another one, but so is the environment",
        )
    if not claim.result and not all(one.ok for one in decode_outcomes(replays[0], claim.items)):
        return (
            Verdict.OPEN,
            "an item fails here, and messages of errors may differ honestly",
        )
    return (
        Verdict.PROVEN,
        f"executing the code {len(replays)} times here gave another result, the same each time",
    )


def _not_comparable(claim: Claim, comparator: Comparator) -> str:
    """Why a result that differs need not be a lie."""
    if comparator.kind is Kind.VERIFY:
        return "the job judges its results itself, with `verify`: there may be more than one right one"
    if comparator.kind not in (Kind.EXACT, Kind.RENDER) and not claim.result:
        return f"the job compares by {claim.manifest.compare}, and the result is not in the proof"
    return ""


def _problem(proof: FraudProof, commitment: Commitment, claimed: Committed) -> str:
    if commitment.manifest != digest(proof.manifest.body):
        return "the commitment is about other code"
    if not check_proof(commitment.root, claimed.leaf(), proof.index, len(commitment.chunks), proof.path):
        return "input and result are not those that were committed to"
    if proof.result and digest(proof.result) != proof.result_digest:
        return "the result in it is not the one that was committed to"
    return ""


def _count_items(payload: bytes) -> int:
    items = encoding.decode(payload)
    if not isinstance(items, list) or not items:
        raise BadFrame("this proves nothing: its input is no list of items")
    return len(items)
