"""The worker machine under random calls, bids, awards, chunks, cancels, failures, stops and jumps in time.

The test plays both the coordinators and the driver, and keeps books of its own: what was assigned and
neither answered, cancelled nor given back with its lease; what runs on each slot.
"""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from worker_talk import COORDINATOR, ENVIRONMENTS, MEMORY, STRANGER, WORKER, call, manifest

from protocol.commitments import CommitmentTerms, Committed, check_commitment
from protocol.ids import ChunkId, JobId, LeaseId, digest
from protocol.limits import BID_LIFETIME_S, LEASE_LIFETIME_S
from protocol.messages import Message
from protocol.messages.job import (
    Assign,
    Assignment,
    Award,
    Bid,
    CancelChunks,
    FailureKind,
    Heartbeat,
    Outbid,
    Ready,
    Refusal,
    Release,
    Results,
)
from protocol.signing import Identity
from protocol.worker_events import (
    ChunkFailed,
    ChunkRan,
    ChunkStopped,
    EndLease,
    EndSession,
    Event,
    Received,
    RunnerFailed,
    RunnerReady,
    Send,
    Sent,
    SessionEnded,
    SessionOpened,
    StartChunk,
    StartLease,
    Stop,
    StopChunk,
    Tick,
)
from protocol.worker_lease import SILENCE_S_MAX
from protocol.worker_machine import WorkerMachine
from protocol.worker_policy import WorkerPolicy

SLOTS = 4
SESSIONS = st.integers(0, 3)
BIG = 300_000


class Side:
    """What a coordinator and the driver know of one session."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.asked: int | None = None
        self.bid: Bid | None = None
        self.awarded: tuple[int, LeaseId] | None = None
        self.ending = False
        self.end_lease()

    def end_lease(self) -> None:
        self.lease: LeaseId | None = None
        self.credit = 0
        self.with_worker: set[ChunkId] = set()
        self.crossing: set[ChunkId] = set()
        self.inputs: dict[ChunkId, bytes] = {}
        self.sequence = 0
        self.unsent = 0
        self.slots: dict[int, ChunkId | None] = {}
        self.preparing: set[int] = set()
        self.stopping: set[int] = set()


class WorkerRules(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        policy = WorkerPolicy(slots=SLOTS, memory_bytes=6 * MEMORY, leases_max=3)
        self.worker = WorkerMachine(WORKER, policy, ENVIRONMENTS, Random(1))
        self.now = 0.0
        self.sides: dict[int, Side] = {}
        self.count = 0

    def feed(self, event: Event) -> None:
        for effect in self.worker.handle(event, self.now):
            side = self.sides[effect.session]
            match effect:
                case Send(messages=messages, lease=lease):
                    side.unsent += lease is not None
                    for message in messages:
                        self.hear(side, message)
                case StartLease(lease=lease, slots=slots):
                    assert side.lease == lease and not side.slots
                    side.slots = dict.fromkeys(range(slots))
                    side.preparing = set(range(slots))
                case StartChunk(lease=lease, slot=slot, chunk=chunk):
                    assert side.lease == lease and side.slots[slot] is None and slot not in side.preparing
                    assert chunk in side.with_worker
                    side.slots[slot] = chunk
                case StopChunk(slot=slot):
                    assert side.slots[slot] is not None
                    side.stopping.add(slot)
                case EndLease(lease=lease):
                    side.end_lease()
                case EndSession():
                    side.ending = True

    def hear(self, side: Side, message: Message) -> None:
        match message:
            case Bid(call_id=call_id):
                assert side.asked == call_id
                side.asked, side.bid = None, message
            case Refusal(call_id=call_id):
                assert message.reason
                due = side.awarded[0] if side.awarded else side.asked
                assert call_id == due or (side.bid and side.bid.call_id == call_id)
                side.asked = side.awarded = side.bid = None
            case Ready(lease=lease, chunk_credit=credit):
                assert side.awarded and side.awarded[1] == lease
                side.awarded, side.lease, side.credit = None, lease, credit
            case Results():
                self.take(side, message)

    def take(self, side: Side, message: Results) -> None:
        assert message.lease == side.lease
        if message.results:
            assert message.commitment
            committed = [Committed(one.chunk, side.inputs[one.chunk], one.digest) for one in message.results]
            terms = CommitmentTerms(
                JobId("job"), message.lease, digest(manifest(side.identity).body), ENVIRONMENTS["python"]
            )
            check_commitment(message.commitment, terms, side.sequence, committed, WORKER.peer_id)
            side.sequence += 1
        for chunk in [one.chunk for one in (*message.results, *message.failures)]:
            answered = side.with_worker if chunk in side.with_worker else side.crossing
            answered.remove(chunk)

    def say(self, number: int, message: Message) -> None:
        self.feed(Received(number, message))

    # The coordinators.

    @precondition(lambda self: len(self.sides) < 4)
    @rule(number=SESSIONS, stranger=st.booleans())
    def open(self, number: int, stranger: bool) -> None:
        if number not in self.sides:
            self.sides[number] = Side(STRANGER if stranger else COORDINATOR)
            self.feed(SessionOpened(number, self.sides[number].identity.peer_id))

    @rule(number=SESSIONS)
    def end(self, number: int) -> None:
        if number in self.sides:
            self.feed(SessionEnded(number))
            del self.sides[number]

    @rule(number=SESSIONS, slots=st.integers(0, 5), price=st.sampled_from([0.5, 1.0, 2.0]))
    def call(self, number: int, slots: int, price: float) -> None:
        side = self.sides.get(number)
        if side and not side.ending:
            self.count += 1
            side.asked, side.bid = self.count, None
            self.say(number, call(self.count, slots_wanted=slots, price_max=price))
            assert side.asked is None, "a call without an answer"

    @rule(number=SESSIONS, slots=st.integers(1, 4), right=st.booleans())
    def award(self, number: int, slots: int, right: bool) -> None:
        side = self.sides.get(number)
        if side and side.bid and not side.ending:
            self.count += 1
            bid, lease = side.bid, LeaseId(f"lease {self.count}")
            side.awarded = (bid.call_id, lease)
            signer = side.identity if right else WORKER
            self.say(number, Award(call_id=bid.call_id, bid=bid.bid, lease=lease, price=bid.price,
                                   slots=min(slots, bid.slots), manifest=manifest(signer)))  # fmt: skip
            assert side.awarded is None, "an award without an answer"
            side.bid = None

    @rule(number=SESSIONS)
    def outbid(self, number: int) -> None:
        side = self.sides.get(number)
        if side and side.bid:
            self.say(number, Outbid(call_id=side.bid.call_id, bid=side.bid.bid))
            side.bid = None

    @rule(number=SESSIONS, count=st.integers(1, 200), data=st.sampled_from([b"a", b"bc"]))
    def assign(self, number: int, count: int, data: bytes) -> None:
        side = self.sides.get(number)
        if side and side.lease:
            count = min(count, side.credit - len(side.with_worker))
            chunks = [ChunkId(self.count + n) for n in range(1, count + 1)]
            self.count += count
            side.with_worker.update(chunks)
            side.inputs.update(dict.fromkeys(chunks, digest(data)))
            pieces = tuple(Assignment(chunk=chunk, digest=digest(data), data=data) for chunk in chunks)
            if pieces:
                self.say(number, Assign(lease=side.lease, chunks=pieces))

    @rule(number=SESSIONS, part=st.floats(0, 1), randomness=st.randoms(use_true_random=False))
    def cancel(self, number: int, part: float, randomness: Random) -> None:
        side = self.sides.get(number)
        if side and side.lease:
            chunks = sorted(side.with_worker)
            some = randomness.sample(chunks, int(part * min(len(chunks), 256)))
            side.with_worker.difference_update(some)
            side.crossing.update(some)
            self.say(number, CancelChunks(lease=side.lease, chunks=tuple(some)))

    @rule(number=SESSIONS)
    def release(self, number: int) -> None:
        side = self.sides.get(number)
        if side and side.lease:
            self.say(number, Release(lease=side.lease))

    @rule(number=SESSIONS)
    def beat(self, number: int) -> None:
        side = self.sides.get(number)
        if side and side.lease:
            self.say(number, Heartbeat(lease=side.lease))

    # The driver.

    @rule(number=SESSIONS, slot=st.integers(0, 3), works=st.sampled_from([True, True, True, False]))
    def runner(self, number: int, slot: int, works: bool) -> None:
        side = self.sides.get(number)
        if side and side.lease and slot in side.preparing:
            if works:
                side.preparing.discard(slot)
                self.feed(RunnerReady(number, side.lease, slot))
            else:
                del side.slots[slot]
                side.preparing.discard(slot)
                self.feed(RunnerFailed(number, side.lease, slot, "broken"))

    @rule(number=SESSIONS, how=st.sampled_from(["ran", "ran", "large", "failed"]), times=st.integers(1, 80))
    def finish(self, number: int, how: str, times: int) -> None:
        for _ in range(times):
            side = self.sides.get(number)
            busy = [slot for slot, chunk in side.slots.items() if chunk is not None] if side and side.lease else []
            if not side or not side.lease or not busy:
                return
            slot = busy[0]
            stopped = slot in side.stopping
            side.stopping.discard(slot)
            side.slots[slot] = None
            self.now += 1e-4
            if stopped and how != "ran":
                self.feed(ChunkStopped(number, side.lease, slot))
            elif how == "failed":
                self.feed(ChunkFailed(number, side.lease, slot, FailureKind.CRASHED, 0, "broke"))
            else:
                self.feed(ChunkRan(number, side.lease, slot, b"x" * (BIG if how == "large" else 1), 0.1))

    @rule(number=SESSIONS, times=st.integers(1, 5))
    def sent(self, number: int, times: int) -> None:
        side = self.sides.get(number)
        for _ in range(times):
            if side and side.lease and side.unsent:
                side.unsent -= 1
                self.feed(Sent(number, side.lease))

    @rule()
    def wait(self) -> None:
        self.now = max(self.now, min(self.worker.next_deadline(), self.now + 1000.0))
        self.feed(Tick())
        assert self.worker.next_deadline() > self.now, "the same deadline twice"

    @rule(seconds=st.sampled_from([0.01, 1.0, SILENCE_S_MAX, BID_LIFETIME_S, LEASE_LIFETIME_S, 200.0]))
    def jump(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Tick())

    @precondition(lambda self: self.now > 300.0)
    @rule()
    def stop(self) -> None:
        self.feed(Stop())
        assert self.worker.lease_count == 0

    # What always holds.

    @invariant()
    def books_agree(self) -> None:
        self.worker.check_invariants()
        assert sum(len(side.slots) + len(side.preparing - side.slots.keys()) for side in self.sides.values()) <= SLOTS
        assert self.worker.lease_count == sum(side.lease is not None for side in self.sides.values())

    @invariant()
    def nothing_is_lost(self) -> None:
        """What was assigned is queued, runs, or waits as an answer; an idle lease has answered everything."""
        for number, side in self.sides.items():
            session = self.worker.sessions.get(number)
            if session is None or (lease := session.lease) is None:
                continue
            kept = len(lease.answers) + lease.remaining
            assert len(side.with_worker) <= kept <= len(side.with_worker) + len(side.crossing)
            if not side.unsent and not lease.remaining:
                assert not side.with_worker, "the last answer was delayed"


WorkerRules.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestWorkerMachine = WorkerRules.TestCase
