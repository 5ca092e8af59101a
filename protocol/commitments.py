"""Commitments: a worker's signature over its results, given before it knows what will be checked.

DESIGN section 8, step 1. The sequence counts from 0 in each lease, so that a commitment can neither
be shown twice nor be replaced by another one: the coordinator asks for exactly the next number.
"""

from collections.abc import Sequence

from protocol.bodies import Commitment
from protocol.errors import BadFrame, LocalError
from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.merkle import merkle_root
from protocol.signing import Envelope, Identity, open_envelope

ChunkDigests = Sequence[tuple[ChunkId, bytes]]


def leaf(chunk: ChunkId, digest: bytes) -> bytes:
    """The Merkle leaf of one result: the chunk id in eight bytes, then the digest of its result."""
    return chunk.to_bytes(8, "big") + digest


def commit(
    identity: Identity, *, job: JobId, lease: LeaseId, sequence: int, results: ChunkDigests, environment: bytes
) -> Envelope:
    """The signed commitment to `results` (chunk id, digest of the result), in this order.

    Raises `LocalError` for no results, more than `CHUNKS_PER_BATCH_MAX`, or a chunk that is there twice.
    """
    chunks = tuple(chunk for chunk, _ in results)
    if not 0 < len(chunks) <= CHUNKS_PER_BATCH_MAX or len(set(chunks)) < len(chunks):
        raise LocalError(f"a commitment is to 1 to {CHUNKS_PER_BATCH_MAX} different chunks, not to {chunks}")
    root = merkle_root([leaf(chunk, digest) for chunk, digest in results])
    return identity.sign(
        Commitment(job=job, lease=lease, sequence=sequence, chunks=chunks, root=root, environment=environment)
    )


def check_commitment(
    envelope: Envelope, results: ChunkDigests, *, worker: PeerId, job: JobId, lease: LeaseId, sequence: int
) -> Commitment:
    """The commitment, which must be by `worker`, to exactly `results`, with exactly this `sequence`.

    Raises `BadSignature` for another signer or a signature that is not valid, `BadFrame` for the
    rest. Whether its `environment` is the one announced with `Ready` is the caller's to compare.
    """
    commitment = open_envelope(envelope, Commitment, worker)
    if problem := _problem(commitment, results, job, lease, sequence):
        raise BadFrame(f"commitment {commitment.sequence} of {worker}: {problem}")
    return commitment


def _problem(commitment: Commitment, results: ChunkDigests, job: JobId, lease: LeaseId, sequence: int) -> str | None:
    chunks = tuple(chunk for chunk, _ in results)
    if (commitment.job, commitment.lease) != (job, lease):
        return "it belongs to another job or lease"
    if commitment.sequence != sequence:
        return f"{'replayed' if commitment.sequence < sequence else 'skipped'}: number {sequence} is due"
    if not chunks or commitment.chunks != chunks:
        return "its chunks are not those of the results"
    if len(set(chunks)) < len(chunks):
        return "a chunk is there twice"
    if commitment.root != merkle_root([leaf(chunk, digest) for chunk, digest in results]):
        return "its root does not fit the results"
    return None
