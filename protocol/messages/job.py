"""Messages of `/parallel-peer/job/1`: one stream per coordinator, worker and job, both ways.

The order of a session: Call, then Bid or Refusal, then Award or Outbid, then Ready; after it Assign,
Results, Heartbeat and Receipts flow until Release (by the coordinator) or Leaving (by the worker).
What a worker keeps of an earlier lease is handed over beside all this (`protocol/messages/kept.py`).
Payloads larger than `INLINE_SIZE_BYTES_MAX` go ahead of the message that names their digest, as
`PayloadPart`s.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from protocol.bodies import ChunkIds
from protocol.limits import (
    CHUNKS_PER_BATCH_MAX,
    INLINE_SIZE_BYTES_MAX,
    LOG_BYTES_PER_CHUNK_MAX,
    PART_SIZE_BYTES_MAX,
)
from protocol.messages.base import (
    BidIdField,
    ChunkIdField,
    Count,
    Digest,
    JobIdField,
    LeaseIdField,
    Message,
    MessageCodec,
    NonNegative,
    Part,
    Positive,
    RequestId,
    ShortText,
    Text,
)
from protocol.messages.kept import FetchKept, ForgetKept, HandedOut, Kept
from protocol.requirements import Requirements
from protocol.signing import Envelope

INTRODUCTIONS_MAX = 4


class RefusalReason(StrEnum):
    """Why a worker does not bid. The first group is policy (may I?), the second capacity (can I now?)."""

    RUNTIME_NOT_OFFERED = "runtime not offered"
    PRICE_TOO_LOW = "price too low"
    NOT_ACCEPTED = "coordinator not accepted"
    REQUIREMENTS = "requirements not met"
    STOPPING = "worker is stopping"
    PAUSED = "worker does not work now"
    ASKED = "waiting for its owner's leave"
    NO_FREE_SLOT = "no free slot"
    NO_MEMORY = "not enough free memory"
    TOO_MANY_LEASES = "too many leases"
    TOO_MANY_CALLS = "too many calls"
    BID_UNKNOWN = "bid expired or unknown"
    BAD_MANIFEST = "manifest not valid"
    UNPAID = "earlier work not paid"


class FailureKind(StrEnum):
    """How an execution ended without a result. None of these is a claim about the right result."""

    TIMEOUT = "time limit exceeded"
    MEMORY = "memory limit exceeded"
    CRASHED = "runner crashed"
    TOO_LARGE = "result too large"
    ENVIRONMENT = "environment could not be prepared"


class Call(Message, frozen=True, kw_only=True, tag="call"):
    """The call for bids."""

    call_id: RequestId
    job: JobIdField
    runtime: ShortText
    slots_wanted: Count
    memory_bytes: Count = 0
    chunk_count: Count = 0
    reference_s: NonNegative = 0.0
    input_size_bytes: Count = 0
    price_max: NonNegative
    deadline_s: NonNegative = 0.0
    needs: Requirements = Requirements()
    """What else each slot needs."""
    takes_kept: bool = False
    """Whether this coordinator takes what the worker keeps of an earlier lease: it is told of it then."""


class Bid(Message, frozen=True, kw_only=True, tag="bid"):
    """A sealed bid: price in credits per reference-second; it lapses `expires_s` after it was sent."""

    call_id: RequestId
    bid: BidIdField
    price: NonNegative
    slots: Annotated[int, Meta(ge=1, le=4096)]
    speed: Positive
    ready_s: NonNegative
    expires_s: NonNegative


class Refusal(Message, frozen=True, kw_only=True, tag="refusal"):
    """No bid, or no lease after all, with the reason."""

    call_id: RequestId
    reason: RefusalReason
    detail: ShortText = ""


class Award(Message, frozen=True, kw_only=True, tag="award"):
    """The bid won: the clearing price (at least the bid's), and the signed manifest."""

    call_id: RequestId
    bid: BidIdField
    lease: LeaseIdField
    price: NonNegative
    slots: Annotated[int, Meta(ge=1, le=4096)]
    manifest: Envelope


class Outbid(Message, frozen=True, kw_only=True, tag="outbid"):
    """The bid lost; its slots are free again."""

    call_id: RequestId
    bid: BidIdField


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The lease is on. At most `chunk_credit` chunks may be with the worker at any time."""

    lease: LeaseIdField
    chunk_credit: Annotated[int, Meta(ge=1, le=65536)]
    environment: Digest
    introductions: Annotated[tuple[Envelope, ...], Meta(max_length=INTRODUCTIONS_MAX)] = ()
    """Receipts that others have given the worker: a coordinator that knows one of them needs to check it less."""


class PayloadPart(Message, frozen=True, kw_only=True, tag="part"):
    """A piece of a payload that a later message names by its digest; pieces come in order."""

    digest: Digest
    offset: Count
    size_bytes: Count
    data: Annotated[bytes, Meta(max_length=PART_SIZE_BYTES_MAX)]


class Assignment(Part, frozen=True, kw_only=True):
    """One chunk to run: its input inline, or by the digest of parts sent before."""

    chunk: ChunkIdField
    digest: Digest
    data: Annotated[bytes, Meta(max_length=INLINE_SIZE_BYTES_MAX)] | None = None
    handed_out: HandedOut | None = None
    """With it the result can be used even where the coordinator vanishes meanwhile."""


class Assign(Message, frozen=True, kw_only=True, tag="assign"):
    """Chunks to run, in this order."""

    lease: LeaseIdField
    chunks: Annotated[tuple[Assignment, ...], Meta(min_length=1, max_length=CHUNKS_PER_BATCH_MAX)]


class ChunkResult(Part, frozen=True, kw_only=True):
    """One chunk's result: inline, or by the digest of parts sent before."""

    chunk: ChunkIdField
    digest: Digest
    size_bytes: Count
    data: Annotated[bytes, Meta(max_length=INLINE_SIZE_BYTES_MAX)] | None = None
    compute_s: NonNegative
    log: Annotated[bytes, Meta(max_length=LOG_BYTES_PER_CHUNK_MAX)] = b""


class ChunkFailure(Part, frozen=True, kw_only=True):
    """One chunk that could not be run to its end, and the item (its place in the chunk) at fault."""

    chunk: ChunkIdField
    kind: FailureKind
    item: Count = 0
    detail: Text = ""
    log: Annotated[bytes, Meta(max_length=LOG_BYTES_PER_CHUNK_MAX)] = b""


class Results(Message, frozen=True, kw_only=True, tag="results"):
    """Results with the signed commitment to them; failures are not committed to."""

    lease: LeaseIdField
    commitment: Envelope | None = None
    results: Annotated[tuple[ChunkResult, ...], Meta(max_length=CHUNKS_PER_BATCH_MAX)] = ()
    failures: Annotated[tuple[ChunkFailure, ...], Meta(max_length=CHUNKS_PER_BATCH_MAX)] = ()


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Still here; `running` are the chunks in execution. Either side may send it."""

    lease: LeaseIdField
    running: ChunkIds = ()
    settled: ChunkIds = ()
    """By the coordinator: chunks whose results are in its books, so that the worker need not keep its own."""


class CancelChunks(Message, frozen=True, kw_only=True, tag="cancel"):
    """These chunks are no longer wanted; the worker drops those that it has not finished."""

    lease: LeaseIdField
    chunks: ChunkIds


class Receipts(Message, frozen=True, kw_only=True, tag="receipts"):
    """A signed receipt."""

    lease: LeaseIdField
    receipt: Envelope


class Release(Message, frozen=True, kw_only=True, tag="release"):
    """The coordinator ends the lease."""

    lease: LeaseIdField
    reason: ShortText = ""
    complaint: ShortText = ""
    """For the worker's owner: which of its results was found wrong, and what follows; empty: none was."""


class Leaving(Message, frozen=True, kw_only=True, tag="leaving"):
    """The worker ends the lease; its unfinished chunks go back."""

    lease: LeaseIdField
    reason: ShortText = ""


JOB_CODEC: MessageCodec[Message] = MessageCodec(
    Call, Bid, Refusal, Award, Outbid, Ready, PayloadPart, Assign, Results, Heartbeat, CancelChunks, Receipts,
    Release, Leaving, Kept, FetchKept, ForgetKept,
)  # fmt: skip
