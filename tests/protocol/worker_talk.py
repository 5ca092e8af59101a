"""What the tests of the worker machine share: identities, messages, and a machine at its first lease."""

from collections.abc import Iterable
from random import Random

from protocol.bodies import Manifest, Receipt
from protocol.commitments import CommitmentTerms, Committed
from protocol.ids import BidId, ChunkId, JobId, LeaseId, PeerId, digest
from protocol.limits import MIB
from protocol.messages import Message
from protocol.messages.job import (
    Assign,
    Assignment,
    Award,
    Bid,
    Call,
    CancelChunks,
    ChunkResult,
    Heartbeat,
    Receipts,
    Refusal,
    Release,
)
from protocol.signing import Envelope, Identity
from protocol.worker_events import (
    ChunkRan,
    Effect,
    Received,
    RunnerReady,
    Send,
    SessionOpened,
    StartChunk,
    StartLease,
)
from protocol.worker_machine import WorkerMachine
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import WorkerPolicy

WORKER = Identity(bytes([1]) * 32)
COORDINATOR = Identity(bytes([2]) * 32)
STRANGER = Identity(bytes([3]) * 32)
ENVIRONMENTS = {"python": digest(b"python")}
MEMORY = 256 * MIB


def machine(memory: WorkerMemory = NO_MEMORY, **policy: object) -> WorkerMachine:
    """A machine with two slots, or as given."""
    values = {"slots": 2, "memory_bytes": 16 * MEMORY} | policy
    return WorkerMachine(WORKER, WorkerPolicy(**values), ENVIRONMENTS, Random(0), memory)  # type: ignore[arg-type]


def call(call_id: int = 1, **fields: object) -> Call:
    """A call that a worker can take, but for `fields`."""
    values = {"call_id": call_id, "job": "job", "runtime": "python", "slots_wanted": 1, "memory_bytes": MEMORY,
              "price_max": 2.0}  # fmt: skip
    return Call(**(values | fields))  # type: ignore[arg-type]


def manifest(signer: Identity = COORDINATOR, **fields: object) -> Envelope:
    """A signed manifest that goes with `call`, but for `fields`."""
    values = {"job": "job", "runtime": "python", "code": b"", "memory_bytes_max": MEMORY} | fields
    return signer.sign(Manifest(**values))  # type: ignore[arg-type]


def award(bid: Bid, /, lease: str = "lease", **fields: object) -> Award:
    """An award that takes the bid as it is, but for `fields`."""
    values = {"call_id": bid.call_id, "bid": bid.bid, "lease": lease, "price": bid.price, "slots": bid.slots}
    return Award(**(values | {"manifest": manifest()} | fields))  # type: ignore[arg-type]


def assign(*chunks: int, lease: str = "lease", data: bytes = b"input") -> Assign:
    """Chunks with their input inline."""
    pieces = tuple(Assignment(chunk=ChunkId(chunk), digest=digest(data), data=data) for chunk in chunks)
    return Assign(lease=LeaseId(lease), chunks=pieces)


def cancel(*chunks: int) -> CancelChunks:
    """Chunks that are no longer wanted."""
    return CancelChunks(lease=LeaseId("lease"), chunks=tuple(ChunkId(chunk) for chunk in chunks))


def receipts(sequence: int, signer: Identity = COORDINATOR, lease: str = "lease", **fields: object) -> Receipts:
    """A receipt of one credit, but for `fields`."""
    values = {"job": JobId("job"), "lease": lease, "sequence": sequence, "worker": WORKER.peer_id,
              "chunks": (ChunkId(1),), "credits": 1.0, "price": 1.0}  # fmt: skip
    body = Receipt(**(values | fields))  # type: ignore[arg-type]
    return Receipts(lease=LeaseId(lease), receipt=signer.sign(body))


HEARTBEAT = Heartbeat(lease=LeaseId("lease"))
RELEASE = Release(lease=LeaseId("lease"))
UNKNOWN_BID = BidId("never made")


def sent(effects: tuple[Effect, ...], session: int = 0) -> list[Message]:
    """The messages among the effects, for one session."""
    return [m for one in effects if isinstance(one, Send) and one.session == session for m in one.messages]


def started(effects: tuple[Effect, ...]) -> list[int]:
    """The chunks that start."""
    return [one.chunk for one in effects if isinstance(one, StartChunk)]


def tell(worker: WorkerMachine, message: Message, now: float = 0.0, session: int = 0) -> tuple[Effect, ...]:
    """Hand a message of the coordinator to the machine, and check its books."""
    effects = worker.handle(Received(session, message), now)
    worker.check_invariants()
    return effects


def connect(worker: WorkerMachine, session: int = 0, peer: PeerId = COORDINATOR.peer_id, now: float = 0.0) -> None:
    """Open a session."""
    worker.handle(SessionOpened(session, peer), now)
    worker.check_invariants()


def bid_of(worker: WorkerMachine, session: int = 0, now: float = 0.0, **fields: object) -> Bid:
    """Call for a bid and get it."""
    (bid,) = sent(tell(worker, call(**fields), now, session), session)
    assert isinstance(bid, Bid), bid
    return bid


def refusal_of(worker: WorkerMachine, message: Message, session: int = 0, now: float = 0.0) -> Refusal:
    """Send a call or an award and get a refusal."""
    (refusal,) = sent(tell(worker, message, now, session), session)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def leased(now: float = 0.0, **policy: object) -> WorkerMachine:
    """A machine whose session 0 has the lease `lease` on all its slots, runners ready."""
    worker = machine(**policy)
    connect(worker, now=now)
    bid = bid_of(worker, now=now, slots_wanted=worker.policy.slots)
    effects = tell(worker, award(bid), now)
    (start,) = [one for one in effects if isinstance(one, StartLease)]
    for slot in range(start.slots):
        worker.handle(RunnerReady(0, LeaseId("lease"), slot), now)
    return worker


def ran(slot: int, data: bytes = b"result") -> ChunkRan:
    """A slot of the lease is through with its chunk."""
    return ChunkRan(0, LeaseId("lease"), slot, data, 0.5)


def terms() -> CommitmentTerms:
    """What commitments of the first lease have in common."""
    return CommitmentTerms(JobId("job"), LeaseId("lease"), digest(manifest().body), ENVIRONMENTS["python"])


def committed(results: Iterable[ChunkResult], data: bytes = b"input") -> list[Committed]:
    """Results as they are committed to, all of them of this input."""
    return [Committed(result.chunk, digest(data), result.digest) for result in results]
