"""Commitments: a worker's signature over its results, given before it knows what will be checked.

DESIGN section 8, step 1. The sequence counts from 0 in each lease, so that a commitment can neither
be shown twice nor be replaced by another one: the coordinator asks for exactly the next number. It
binds code and inputs besides the results, so that a lie can be shown to others (`protocol/fraud_proof.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.bodies import Commitment
from protocol.errors import BadFrame, LocalError
from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.merkle import merkle_root
from protocol.signing import Envelope, Identity, open_envelope


@dataclass(frozen=True, slots=True)
class Committed:
    """What one result is committed to as: its chunk, the digest of its input and that of its result."""

    chunk: ChunkId
    input: bytes
    result: bytes

    def leaf(self) -> bytes:
        """The Merkle leaf: the chunk id in eight bytes, then the two digests."""
        return self.chunk.to_bytes(8, "big") + self.input + self.result


@dataclass(frozen=True, slots=True)
class CommitmentTerms:
    """What all commitments of one lease have in common; `manifest` is the digest of its signed body."""

    job: JobId
    lease: LeaseId
    manifest: bytes
    environment: bytes


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A checked commitment with what it is to."""

    envelope: Envelope
    results: tuple[Committed, ...]


def commit(identity: Identity, terms: CommitmentTerms, sequence: int, results: Sequence[Committed]) -> Envelope:
    """The signed commitment to `results`, in this order.

    Raises `LocalError` for no results, more than `CHUNKS_PER_BATCH_MAX`, or a chunk that is there twice.
    """
    chunks = tuple(one.chunk for one in results)
    if not 0 < len(chunks) <= CHUNKS_PER_BATCH_MAX or len(set(chunks)) < len(chunks):
        raise LocalError(f"a commitment is to 1 to {CHUNKS_PER_BATCH_MAX} different chunks, not to {chunks}")
    return identity.sign(
        Commitment(
            job=terms.job,
            lease=terms.lease,
            sequence=sequence,
            manifest=terms.manifest,
            chunks=chunks,
            root=merkle_root([one.leaf() for one in results]),
            environment=terms.environment,
        )
    )


def check_commitment(
    envelope: Envelope, terms: CommitmentTerms, sequence: int | None, results: Sequence[Committed], worker: PeerId
) -> SignedBatch:
    """The commitment, which must be by `worker`, to exactly `results` on these terms, with exactly this `sequence`.

    None: with any, where results of an earlier lease are handed over, each of which counts once however often it comes.

    Raises `BadSignature` for another signer or a signature that is not valid, `BadFrame` for the rest.
    """
    commitment = open_envelope(envelope, Commitment, worker)
    if problem := _problem(commitment, terms, sequence, results):
        raise BadFrame(f"commitment {commitment.sequence} of {worker}: {problem}")
    return SignedBatch(envelope, tuple(results))


def _problem(
    commitment: Commitment, terms: CommitmentTerms, sequence: int | None, results: Sequence[Committed]
) -> str | None:
    chunks = tuple(one.chunk for one in results)
    if (commitment.job, commitment.lease) != (terms.job, terms.lease):
        return "it belongs to another job or lease"
    if commitment.manifest != terms.manifest:
        return "it is about another manifest"
    if commitment.environment != terms.environment:
        return "its environment is not the one that was announced"
    if sequence is not None and commitment.sequence != sequence:
        return f"{'replayed' if commitment.sequence < sequence else 'skipped'}: number {sequence} is due"
    if not chunks or commitment.chunks != chunks:
        return "its chunks are not those of the results"
    if len(set(chunks)) < len(chunks):
        return "a chunk is there twice"
    if commitment.root != merkle_root([one.leaf() for one in results]):
        return "its root does not fit the inputs and results"
    return None
