"""What gets signed in a job: the manifest by its coordinator, commitments by workers, receipts."""

from typing import Annotated, ClassVar

from msgspec import Meta

from protocol.ids import PeerId
from protocol.limits import BLOB_NAME_PATTERN, BLOBS_PER_JOB_MAX, CHUNKS_PER_BATCH_MAX, CODE_SIZE_BYTES_MAX
from protocol.messages.base import (
    ChunkIdField,
    Count,
    Digest,
    JobIdField,
    LeaseIdField,
    NonNegative,
    Part,
    PeerIdField,
    Positive,
    ShortText,
)
from protocol.pinned import REQUIREMENTS_LENGTH_MAX
from protocol.requirements import CORES_MAX
from protocol.signing import SignedBody

ChunkIds = Annotated[tuple[ChunkIdField, ...], Meta(max_length=CHUNKS_PER_BATCH_MAX)]


class JobBlob(Part, frozen=True, kw_only=True):
    """A blob that a job's code reads: the name under which it finds it, the blob's id, its size."""

    name: Annotated[str, Meta(pattern=BLOB_NAME_PATTERN)]
    blob: Digest
    size_bytes: Count


class Manifest(SignedBody, frozen=True, kw_only=True):
    """What a worker must know to run chunks of a job. Everything in it is the same for all workers."""

    DOMAIN: ClassVar[str] = "manifest"

    job: JobIdField
    runtime: ShortText
    code: Annotated[bytes, Meta(max_length=CODE_SIZE_BYTES_MAX)]
    entry: ShortText = "run"
    name: ShortText = ""
    compare: ShortText = "exact"
    """How results are compared (`protocol/comparators.py`), so that others can judge a dispute later."""
    item_timeout_s: Positive = 600.0
    memory_bytes_max: Count = 2 * 1024**3
    cores: Annotated[int, Meta(ge=1, le=CORES_MAX)] = 1
    """For each slot; libraries are told to use so many threads, since results may depend on their number."""
    requirements: Annotated[str, Meta(max_length=REQUIREMENTS_LENGTH_MAX)] = ""
    """Packages that the code needs, as a complete list (`protocol/pinned.py`); for runtimes that install some."""
    blobs: Annotated[tuple[JobBlob, ...], Meta(max_length=BLOBS_PER_JOB_MAX)] = ()
    """Files that the code finds at `/blobs/NAME`, and by `PEER_BLOB_NAME` in its environment."""
    blob_holder: PeerIdField = PeerId("")
    """Who has them for certain, and the files of items: the coordinator. Others are found in the DHT."""


class Commitment(SignedBody, frozen=True, kw_only=True):
    """A worker's word on a batch of results, given before it can know what will be checked.

    It says: this code (`manifest`, the digest of the signed body) gives these results of these inputs in this
    environment. `root` is the Merkle root over (chunk id, input digest, result digest) in the order of `chunks`;
    `sequence` counts from 0 in each lease, so that a commitment cannot be shown twice.
    """

    DOMAIN: ClassVar[str] = "commitment"

    job: JobIdField
    lease: LeaseIdField
    sequence: Count
    manifest: Digest
    chunks: ChunkIds
    root: Digest
    environment: Digest


class Receipt(SignedBody, frozen=True, kw_only=True):
    """A coordinator's word that results were accepted, with the credits (verified reference-seconds)."""

    DOMAIN: ClassVar[str] = "receipt"

    job: JobIdField
    lease: LeaseIdField
    sequence: Count
    worker: PeerIdField
    chunks: ChunkIds
    credits: NonNegative
    price: NonNegative
