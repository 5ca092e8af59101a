"""What happens to a job (events) and what its machine wants done (effects). Frozen data only."""

from dataclasses import dataclass
from enum import StrEnum

from protocol.chunk import Failure
from protocol.ids import ChunkId, PeerId


@dataclass(frozen=True, slots=True)
class ItemsAdded:
    """More items at the end; the encoded size of each in bytes."""

    sizes_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ItemsClosed:
    """There will be no more items: the job ends when these are done."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker, or the local machine (`local`), takes chunks from now on."""

    peer: PeerId
    slots: int
    chunk_credit: int
    price: float
    speed: float
    party: str | None = None
    local: bool = False
    clean: float = 0.0
    """Clean results that it has from earlier jobs."""
    platform: bytes | None = None
    """What its results may depend on, where replicas of a chunk must go to workers that have it in common."""
    introduced: bool = False
    """Whether somebody whom this coordinator knows has paid it."""


@dataclass(frozen=True, slots=True)
class WorkerCondemned:
    """The peer was found lying in another job of this coordinator, or the coordinator's owner bans it."""

    peer: PeerId
    reason: str
    lied: bool = True
    """Not so where the owner's word is all that there is against it."""


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker is gone: closed, cut off, refused or dismissed."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class HeardFrom:
    """A heartbeat with the chunks in execution."""

    peer: PeerId
    running: tuple[ChunkId, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What agrees with an execution of our own, where results agree that have other keys (`tolerance`, `image`)."""

    peers: frozenset[PeerId]
    """Whose results do."""
    keys: frozenset[bytes]
    """The keys whose first result does: what counts under one of them stands."""


class Proof(StrEnum):
    """What the job's own check says of a result (comparator `verify`)."""

    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """A committed result; the commitment and the encoding were checked before."""

    peer: PeerId
    chunk: ChunkId
    key: bytes
    compute_s: float
    agreement: Agreement | None = None
    """Of our own executions alone."""
    proof: Proof | None = None
    """None where there is no such check, or an item has failed and has no result to check."""
    kept: bool = False
    """Whether its worker had it from an earlier run of the job, and the coordinator's mark on it was checked."""


@dataclass(frozen=True, slots=True)
class KeptOffered:
    """A worker says that it has a result of exactly these items from an earlier run of the job, or still computes one.

    That they were given to it then was checked before. `terms` are those on which it works, or worked then.
    """

    terms: WorkerReady
    start: int
    stop: int
    running: bool


@dataclass(frozen=True, slots=True)
class FailureArrived:
    """An execution that ended without a result."""

    peer: PeerId
    chunk: ChunkId
    failure: Failure


@dataclass(frozen=True, slots=True)
class AuditDone:
    """The coordinator's own re-execution; `key` is None when it could not be run to its end."""

    chunk: ChunkId
    key: bytes | None
    compute_s: float = 0.0
    detail: str = ""
    agreement: Agreement | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class CancelJob:
    """The user no longer wants the rest."""


@dataclass(frozen=True, slots=True)
class PauseJob:
    """The user wants the rest later: nobody works on it until then."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline has passed."""


Event = (
    ItemsAdded
    | ItemsClosed
    | WorkerReady
    | WorkerCondemned
    | WorkerLost
    | HeardFrom
    | ResultArrived
    | KeptOffered
    | FailureArrived
    | AuditDone
    | CancelJob
    | PauseJob
    | Tick
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk as its worker sees it."""

    chunk: ChunkId
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class AssignChunks:
    """Send these chunks to the worker, or run them on the local slots."""

    peer: PeerId
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class KeptWanted:
    """What the worker has kept of this piece, or still runs, is of use: have it handed over once it is finished."""

    peer: PeerId
    piece: Piece


@dataclass(frozen=True, slots=True)
class KeptRefused:
    """What it has of these items is of no use: they are done, or parted otherwise, or it may not give them."""

    peer: PeerId
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class CancelReplicas:
    """The worker need not go on with these."""

    peer: PeerId
    chunks: tuple[ChunkId, ...]


@dataclass(frozen=True, slots=True)
class RunAudit:
    """Re-execute this chunk on the coordinator's own executor: drawn in secret, or because results differ."""

    piece: Piece
    disputed: bool = False
    fresh: bool = False
    """In a process of its own: it is to tell whether an execution here repeats, which a warm process may feign."""


@dataclass(frozen=True, slots=True)
class RecallAudit:
    """The re-execution is not needed any more; the answer of one that is under way will be ignored."""

    chunk: ChunkId


class How(StrEnum):
    """By what a result came to be believed."""

    AUDITED = "audited"
    VOTED = "voted"
    TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Settled:
    """The result with this key counts; `source` gave it (None: the audit did)."""

    piece: Piece
    key: bytes
    source: PeerId | None
    how: How


@dataclass(frozen=True, slots=True)
class Upheld:
    """The result that counts was found right by an execution of our own."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class Revoked:
    """The result that counted no longer does; the chunk is done again."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The chunk failed in the same way everywhere: the job's fault, not the workers'."""

    piece: Piece
    failure: Failure
    tried: int


@dataclass(frozen=True, slots=True)
class LieCaught:
    """The worker committed to a result that re-execution contradicts, or that others `outvoted`."""

    peer: PeerId
    piece: Piece
    given: bytes
    right: bytes
    revoked: int
    outvoted: bool = False
    """Only other peers say so: enough to leave the job, not to accuse it before others or of a lie to us."""


@dataclass(frozen=True, slots=True)
class Dismiss:
    """End the lease of this worker; `for_good` when it must not be called again for this job."""

    peer: PeerId
    reason: str
    for_good: bool = True


@dataclass(frozen=True, slots=True)
class Pay:
    """Accepted chunks of one worker: credits are verified reference-seconds, `price` what they cost."""

    peer: PeerId
    chunks: tuple[ChunkId, ...]
    credits: float
    price: float


class Ending(StrEnum):
    """How a job ended."""

    DONE = "done"
    FAILED = "failed"
    NO_WORKER = "no worker"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """At its budget or deadline."""
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class JobEnded:
    """Nothing is left to do, or nothing can be done; `reason` in plain words."""

    ending: Ending
    reason: str = ""


Effect = (
    AssignChunks
    | KeptWanted
    | KeptRefused
    | CancelReplicas
    | RunAudit
    | RecallAudit
    | Settled
    | Upheld
    | Revoked
    | GaveUp
    | LieCaught
    | Dismiss
    | Pay
    | JobEnded
)  # fmt: skip
