"""Messages of `/parallel-peer/job/1` about results that a worker keeps for a coordinator that had vanished.

After a `Call` that says so (`takes_kept`) the worker says what it keeps or still computes (`Kept`), before its bid or
refusal, and later what has been finished meanwhile. The coordinator asks for what it can use (`FetchKept`), gets
`Results` that name the lease of then, and says what need not be kept any longer (`ForgetKept`).
"""

from typing import Annotated

from msgspec import Meta

from protocol.bodies import ChunkIds
from protocol.limits import CHUNK_RESULT_BYTES_MAX, ITEMS_PER_JOB_MAX, KEPT_PER_MESSAGE_MAX
from protocol.messages.base import ChunkIdField, Count, Digest, LeaseIdField, Message, NonNegative, Part


class HandedOut(Part, frozen=True, kw_only=True):
    """Which items of the job a chunk has, in words that outlive the run that cut it, with its coordinator's mark.

    Chunks are numbered anew by each run of a job, its items are not.
    """

    first: Count
    last: Count
    count: Annotated[int, Meta(ge=1, le=ITEMS_PER_JOB_MAX)]
    """Fewer than from `first` to `last`, where some in between are no part of the run."""
    at_unix_s: NonNegative
    """When, by the coordinator's clock."""
    mark: Digest
    """What only this coordinator can make: without it a worker could claim that it had been given anything."""


class KeptChunk(Part, frozen=True, kw_only=True):
    """A chunk of an earlier lease that the worker has a result of, or still runs."""

    lease: LeaseIdField
    chunk: ChunkIdField
    handed_out: HandedOut
    input: Digest
    environment: Digest
    size_bytes: Annotated[int, Meta(ge=0, le=CHUNK_RESULT_BYTES_MAX)] = 0
    """Of the result; 0 while it runs."""
    running: bool = False


class Kept(Message, frozen=True, kw_only=True, tag="kept"):
    """What the worker has."""

    chunks: Annotated[tuple[KeptChunk, ...], Meta(max_length=KEPT_PER_MESSAGE_MAX)]


class FetchKept(Message, frozen=True, kw_only=True, tag="fetch kept"):
    """Send the results of these."""

    lease: LeaseIdField
    chunks: ChunkIds


class ForgetKept(Message, frozen=True, kw_only=True, tag="forget kept"):
    """These need not be kept, nor run to their end: they are of no use, or in the coordinator's books."""

    lease: LeaseIdField
    chunks: ChunkIds
