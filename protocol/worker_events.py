"""What happens to a worker (events) and what its machine wants done (effects). Frozen data only.

A session is one job stream of one coordinator; its number is the driver's. A slot is named by its
lease and its place in it, from 0.
"""

from dataclasses import dataclass

from protocol.bodies import Manifest, Receipt
from protocol.ids import ChunkId, LeaseId, PeerId
from protocol.messages import Message
from protocol.messages.job import FailureKind
from protocol.signing import Envelope


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A coordinator opened a job stream; the handshake proved who it is."""

    session: int
    coordinator: PeerId


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The stream is gone, whoever ended it."""

    session: int


@dataclass(frozen=True, slots=True)
class StreamGone:
    """The stream has ended without a word of farewell; the session ends when nothing runs for it any more."""

    session: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the coordinator."""

    session: int
    message: Message


@dataclass(frozen=True, slots=True)
class Sent:
    """Results that `Send` marked with their lease are on their way."""

    session: int
    lease: LeaseId


@dataclass(frozen=True, slots=True)
class RunnerReady:
    """The slot's runner is open."""

    session: int
    lease: LeaseId
    slot: int


@dataclass(frozen=True, slots=True)
class RunnerFailed:
    """The slot's runner cannot be opened."""

    session: int
    lease: LeaseId
    slot: int
    detail: str


@dataclass(frozen=True, slots=True)
class ChunkRan:
    """The slot's chunk came to its end: canonical CBOR of its outcomes."""

    session: int
    lease: LeaseId
    slot: int
    data: bytes
    compute_s: float
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class ChunkFailed:
    """The slot's chunk did not come to its end."""

    session: int
    lease: LeaseId
    slot: int
    kind: FailureKind
    item: int
    detail: str
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class ChunkStopped:
    """The slot's chunk was stopped, as `StopChunk` asked."""

    session: int
    lease: LeaseId
    slot: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The worker stops: it leaves its leases and makes no more bids."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """The owner allows no work for now, and why: leases end, calls are refused. Again: for another reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The owner allows work again."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline may have passed."""


SlotEvent = RunnerReady | RunnerFailed | ChunkRan | ChunkFailed | ChunkStopped
Event = SessionOpened | SessionEnded | StreamGone | Received | Sent | SlotEvent | Stop | Suspend | Resume | Tick


@dataclass(frozen=True, slots=True)
class Send:
    """Send messages in this order; with a lease, report `Sent` when they have been written."""

    session: int
    messages: tuple[Message, ...]
    lease: LeaseId | None = None


@dataclass(frozen=True, slots=True)
class StartLease:
    """Open a runner for each slot; each reports `RunnerReady` or `RunnerFailed`."""

    session: int
    lease: LeaseId
    manifest: Manifest
    slots: int


@dataclass(frozen=True, slots=True)
class StartChunk:
    """Run a chunk on an idle slot, which reports `ChunkRan`, `ChunkFailed` or `ChunkStopped`."""

    session: int
    lease: LeaseId
    slot: int
    chunk: ChunkId
    data: bytes


@dataclass(frozen=True, slots=True)
class StopChunk:
    """Stop what runs on the slot; it still reports how that ended."""

    session: int
    lease: LeaseId
    slot: int


@dataclass(frozen=True, slots=True)
class CloseSlots:
    """No more chunks come: close each runner as soon as nothing runs on it. What runs still reports how it ended."""

    session: int
    lease: LeaseId


@dataclass(frozen=True, slots=True)
class EndLease:
    """Stop what runs and close the runners; nothing needs to be reported."""

    session: int
    lease: LeaseId


@dataclass(frozen=True, slots=True)
class ReadOn:
    """The session's input is no longer full: read its stream again."""

    session: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """Close the stream after what was sent is written; report `SessionEnded`."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class HearComplaint:
    """The coordinator has found a result of this machine wrong; `text` is in its words, and may be false."""

    session: int
    coordinator: PeerId
    text: str


@dataclass(frozen=True, slots=True)
class KeepReceipt:
    """A receipt was earned; keep it."""

    session: int
    envelope: Envelope
    receipt: Receipt


LeaseEffect = StartLease | StartChunk | StopChunk | CloseSlots | EndLease
Effect = Send | LeaseEffect | ReadOn | EndSession | KeepReceipt | HearComplaint
