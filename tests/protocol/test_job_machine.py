"""The coordinator's machine, driven by honest, lying, failing and vanishing workers."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.adaptive import parse_policy
from protocol.chunk import Failure
from protocol.ids import ChunkId, PeerId, digest
from protocol.job_events import (
    AssignChunks,
    AuditDone,
    CancelJob,
    CancelReplicas,
    Dismiss,
    Effect,
    Ending,
    Event,
    FailureArrived,
    GaveUp,
    HeardFrom,
    How,
    ItemsAdded,
    ItemsClosed,
    JobEnded,
    LieCaught,
    Pay,
    Piece,
    RecallAudit,
    ResultArrived,
    Revoked,
    RunAudit,
    Settled,
    Tick,
    WorkerLost,
    WorkerReady,
)
from protocol.job_machine import JobMachine, JobRules
from protocol.limits import FAULTS_PER_WORKER_MAX
from protocol.messages.job import FailureKind

LOCAL = PeerId("local")


def right(piece: Piece) -> bytes:
    return digest(f"{piece.start}-{piece.stop}".encode())


@dataclass
class World:
    """Joins a machine with workers that behave as told; the only clock is its counter."""

    machine: JobMachine
    seed: int = 0
    lies: dict[PeerId, float] = field(default_factory=dict)
    vanishing: dict[PeerId, float] = field(default_factory=dict)
    silent: set[PeerId] = field(default_factory=set)
    bad_items: set[int] = field(default_factory=set)
    now: float = 0.0
    queues: dict[PeerId, list[Piece]] = field(default_factory=dict)
    settled: dict[int, Settled] = field(default_factory=dict)
    gave_up: list[GaveUp] = field(default_factory=list)
    caught: list[LieCaught] = field(default_factory=list)
    paid: dict[PeerId, list[ChunkId]] = field(default_factory=dict)
    revoked: int = 0
    audits: list[Piece] = field(default_factory=list)
    audits_done: int = 0
    audits_wait: int = 0
    """How many audits gather before the first is run."""
    recalled: int = 0
    ended: JobEnded | None = None
    nondeterministic: bool = False

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def tell(self, event: Event) -> None:
        for effect in self.machine.handle(event, self.now):
            self._carry_out(effect)
        self.machine.check_invariants()

    def join(self, *names: str, local: bool = False, party: str | None = None) -> None:
        for name in names:
            peer = PeerId(name)
            self.queues[peer] = []
            self.tell(WorkerReady(peer, 1, 64, price=1.0, speed=1.0, local=local, party=party))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AssignChunks(peer, pieces):
                self.queues[peer].extend(pieces)
            case CancelReplicas(peer, chunks):
                self.queues[peer] = [piece for piece in self.queues.get(peer, []) if piece.chunk not in chunks]
            case RunAudit(piece):
                self.audits.append(piece)
            case RecallAudit(chunk):
                self.audits = [piece for piece in self.audits if piece.chunk != chunk]
                self.recalled += 1
            case Settled(piece):
                self.settled[piece.chunk] = effect
            case Revoked(piece):
                del self.settled[piece.chunk]
                self.revoked += 1
            case GaveUp():
                self.gave_up.append(effect)
            case LieCaught():
                self.caught.append(effect)
            case Dismiss(peer):
                self.queues.pop(peer, None)
            case Pay(peer, chunks):
                self.paid.setdefault(peer, []).extend(chunks)
            case JobEnded():
                self.ended = effect

    def step(self) -> bool:
        """One worker does one chunk, or an audit is run, or time passes; False when nothing can happen."""
        self.now += 0.01
        busy = sorted(peer for peer, queue in self.queues.items() if queue and peer not in self.silent)
        if self.audits and (len(self.audits) > self.audits_wait or not busy):
            self.audits_wait = 0
            self.audits_done += 1
            piece = self.audits.pop(0)
            self.tell(AuditDone(piece.chunk, self._key(piece, lie=self.nondeterministic), 0.1))
            return True
        if busy:
            self._work(self.random.choice(busy))
            return True
        deadline = self.machine.next_deadline()
        if deadline is None:
            return False
        self.now = max(self.now, min(deadline, self.now + 2.0))
        self._heartbeats()
        self.tell(Tick())
        return True

    def _heartbeats(self) -> None:
        for peer in sorted(self.queues):
            if peer not in self.silent:
                self.tell(HeardFrom(peer, ()))

    def _key(self, piece: Piece, lie: bool) -> bytes:
        return digest(b"wrong" + self.random.randbytes(8)) if lie else right(piece)

    def _work(self, peer: PeerId) -> None:
        if self.random.random() < self.vanishing.get(peer, 0.0):
            del self.queues[peer]
            self.tell(WorkerLost(peer, "gone"))
            return
        piece = self.queues[peer].pop(0)
        bad = [item for item in range(piece.start, piece.stop) if item in self.bad_items]
        if bad:
            failure = Failure(FailureKind.TIMEOUT, bad[0] - piece.start, "too slow")
            self.tell(FailureArrived(peer, piece.chunk, failure))
            return
        lie = self.nondeterministic or self.random.random() < self.lies.get(peer, 0.0)
        self.tell(ResultArrived(peer, piece.chunk, self._key(piece, lie), 0.05 * (piece.stop - piece.start)))

    def run(self, steps_max: int = 20_000) -> None:
        for _ in range(steps_max):
            if self.ended is not None or not self.step():
                return
        raise AssertionError("the job does not end")

    def covered(self) -> list[int]:
        items: list[int] = []
        for one in (*self.settled.values(), *self.gave_up):
            items.extend(range(one.piece.start, one.piece.stop))
        return sorted(items)


def world(policy: str, items: int, *, close: bool = True, can_audit: bool = True, seed: int = 0) -> World:
    rules = JobRules(parse_policy(policy), can_audit=can_audit, item_timeout_s=60.0, worker_wait_s=20.0)
    made = World(JobMachine(rules, Random(seed)), seed=seed)
    made.tell(ItemsAdded((10,) * items))
    if close:
        made.tell(ItemsClosed())
    return made


def test_honest_workers_finish_every_item_once_and_all_are_paid() -> None:
    w = world("quorum:2", 200)
    w.join("a", "b", "c")
    w.run()
    assert w.ended == JobEnded(Ending.DONE, "")
    assert w.covered() == list(range(200))
    assert all(one.how is How.VOTED for one in w.settled.values())
    votes = sum(len(chunks) for chunks in w.paid.values())
    assert votes >= 2 * len(w.settled)


def test_a_liar_is_caught_by_a_settling_execution_and_nothing_of_it_remains() -> None:
    w = world("quorum:2", 100)
    w.lies = {PeerId("liar"): 0.3}
    w.join("a", "b", "liar")
    w.run()
    assert [one.peer for one in w.caught] == ["liar"]
    assert all(one.key == right(one.piece) for one in w.settled.values())
    assert "liar" not in w.paid
    assert w.covered() == list(range(100))


def test_many_lies_of_one_liar_need_one_execution() -> None:
    w = world("quorum:2", 100)
    w.lies = {PeerId("liar"): 1.0}
    w.audits_wait = 10
    w.join("a", "b", "liar")
    w.run()
    assert w.ended == JobEnded(Ending.DONE, "") and w.covered() == list(range(100))
    assert w.audits_done == 1 and w.recalled > 3
    assert [one.peer for one in w.caught] == ["liar"]
    assert all(one.key == right(one.piece) for one in w.settled.values())


def test_audits_catch_a_liar_and_revoke_what_was_trusted() -> None:
    w = world("audit:0.3", 300, seed=3)
    w.join("a")
    for _ in range(4):
        w.step()
    w.lies = {PeerId("liar"): 1.0}
    w.join("liar")
    w.run()
    assert [one.peer for one in w.caught] == ["liar"]
    assert w.caught[0].revoked == w.revoked
    assert all(one.key == right(one.piece) for one in w.settled.values())


def test_none_believes_everything() -> None:
    w = world("none", 50)
    w.lies = {PeerId("liar"): 1.0}
    w.join("liar")
    w.run()
    assert w.ended == JobEnded(Ending.DONE, "") and not w.caught


def test_local_results_need_no_check() -> None:
    w = world("quorum:2", 40)
    w.join(LOCAL, local=True)
    w.run()
    assert all(one.how is How.AUDITED for one in w.settled.values())
    assert not w.audits and w.covered() == list(range(40))


def test_a_function_that_differs_each_time_convicts_nobody() -> None:
    w = world("quorum:2", 10)
    w.nondeterministic = True
    w.join("a", "b")
    w.run()
    assert w.ended is not None and w.ended.ending is Ending.FAILED
    assert "deterministic" in w.ended.reason and not w.caught


def test_one_bad_item_fails_alone() -> None:
    w = world("quorum:2", 100)
    w.bad_items = {57}
    w.join("a", "b", "c")
    w.run()
    assert [(one.piece.start, one.piece.stop) for one in w.gave_up] == [(57, 58)]
    assert w.covered() == list(range(100))
    assert w.ended == JobEnded(Ending.DONE, "")


def test_a_bad_item_fails_at_once_on_ones_own_machine() -> None:
    w = world("quorum:2", 3)
    w.bad_items = {1}
    w.join(LOCAL, local=True)
    w.run()
    assert [one.tried for one in w.gave_up] == [1]


def test_without_workers_the_job_ends_and_says_so() -> None:
    w = world("quorum:2", 10)
    w.run()
    assert w.ended == JobEnded(Ending.NO_WORKER, "no worker took the job")
    assert w.now >= 20.0


def test_a_quorum_that_cannot_be_had_is_named() -> None:
    w = world("quorum:3", 10)
    w.join("a", "b")
    w.run()
    assert w.ended is not None and w.ended.ending is Ending.FAILED
    assert "quorum:3 needs 3 independent peers, but only 2" in w.ended.reason


def test_two_peers_of_one_party_do_not_make_a_quorum() -> None:
    w = world("quorum:2", 10)
    w.join("a", "b", party="203.0.113.0/24")
    w.run()
    assert w.ended is not None and w.ended.ending is Ending.FAILED and not w.settled


def test_a_silent_worker_gives_its_chunks_back() -> None:
    w = world("none", 20)
    w.silent = {PeerId("quiet")}
    w.join("quiet")
    w.now = 5.0
    w.join("a")
    w.run()
    assert w.ended == JobEnded(Ending.DONE, "") and w.covered() == list(range(20))


def test_a_hanging_chunk_is_hedged_on_an_idle_worker() -> None:
    w = world("none", 4)
    w.join("a", "hang")
    w.silent = {PeerId("hang")}
    for _ in range(12):
        w.step()
        w.tell(HeardFrom(PeerId("hang"), ()))
    assert w.ended == JobEnded(Ending.DONE, "")


def run_with_hanging(w: World, *names: str) -> None:
    """These stay alive and never answer; whenever they are let go, but not for good, they come back at once."""
    peers = [PeerId(name) for name in names]
    w.silent = set(peers)
    for _ in range(2000):
        if w.ended is not None or not w.step():
            return
        for peer in peers:
            if peer in w.machine.workers.active:
                w.tell(HeardFrom(peer, ()))
            elif w.machine.workers.tallies[peer].failures < FAULTS_PER_WORKER_MAX:
                w.join(peer)


def test_those_who_never_answer_do_not_pass_a_chunk_around_for_ever() -> None:
    w = world("none", 30)
    w.join("hang1", "hang2", "hang3", "z")  # Equals are served by name: the last of them would never get its turn.
    run_with_hanging(w, "hang1", "hang2", "hang3")
    assert w.ended == JobEnded(Ending.DONE, "") and w.covered() == list(range(30)) and not w.gave_up
    assert w.now < 600.0


def test_our_own_machine_is_the_last_resort_where_the_hedge_hangs_too() -> None:
    w = world("none", 6)
    w.join("hang1", "hang2")
    w.join(LOCAL, local=True)
    run_with_hanging(w, "hang1", "hang2")
    assert w.ended == JobEnded(Ending.DONE, "") and w.now < 60.0


def test_minority_leaves_where_the_coordinator_cannot_execute() -> None:
    w = world("quorum:2", 60, can_audit=False)
    w.lies = {PeerId("liar"): 0.5}
    w.join("a", "b", "c", "liar")
    w.run()
    assert [one.peer for one in w.caught] == ["liar"] and not w.audits
    assert all(one.key == right(one.piece) for one in w.settled.values())


@pytest.mark.parametrize("honest", [3, 9])
def test_credibility_decides_by_default_where_the_coordinator_cannot_execute(honest: int) -> None:
    """Where there are not enough peers for the target, the majority of those there are."""
    w = world("adaptive", 60, can_audit=False)
    w.lies = {PeerId("liar"): 0.5}
    w.join(*(f"h{number}" for number in range(honest)), "liar")
    w.run()
    assert w.ended == JobEnded(Ending.DONE, "") and not w.audits
    assert [one.peer for one in w.caught] == ["liar"]
    assert all(one.key == right(one.piece) for one in w.settled.values())


def test_an_open_job_takes_more_items_and_pays_between() -> None:
    w = world("none", 5, close=False)
    w.join("a")
    while w.step():
        if w.queues[PeerId("a")] == [] and not w.machine.book.open and not w.machine.book.uncut:
            break
    assert w.ended is None and sum(map(len, w.paid.values())) == len(w.settled)
    w.tell(ItemsAdded((10,) * 3))
    w.tell(ItemsClosed())
    w.run()
    assert w.covered() == list(range(8)) and w.ended == JobEnded(Ending.DONE, "")


def test_cancel_ends_the_job_and_pays_what_was_accepted() -> None:
    w = world("none", 500)
    w.join("a")
    for _ in range(10):
        w.step()
    w.tell(CancelJob())
    assert w.ended is not None and w.ended.ending is Ending.CANCELLED
    assert sum(map(len, w.paid.values())) == len(w.settled) > 0


def test_nothing_happens_after_the_end() -> None:
    w = world("none", 0)
    assert w.ended == JobEnded(Ending.DONE, "")
    assert w.machine.handle(Tick(), 99.0) == () and w.machine.next_deadline() is None


@pytest.mark.parametrize("policy", ["adaptive", "quorum:2", "quorum:3", "audit:0.2", "audit:1.0", "none"])
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    items=st.integers(1, 300),
    liar_rate=st.floats(0.0, 1.0),
    vanish_rate=st.floats(0.0, 0.2),
    bad=st.sets(st.integers(0, 299), max_size=3),
)
def test_every_item_ends_and_nothing_wrong_is_accepted(
    policy: str, seed: int, items: int, liar_rate: float, vanish_rate: float, bad: set[int]
) -> None:
    """Two honest workers stay; others lie and vanish. Quorums may only be fooled by agreeing liars."""
    w = world(policy, items, seed=seed)
    w.bad_items = bad
    if policy != "none":
        w.lies = {PeerId("liar"): liar_rate, PeerId("liar2"): liar_rate}
    w.vanishing = {PeerId("c"): vanish_rate, PeerId("liar"): vanish_rate / 2}
    w.join("a", "b", "c", "d", "liar", "liar2")
    w.join(LOCAL, local=True)
    w.run()
    assert w.ended == JobEnded(Ending.DONE, "")
    assert w.covered() == list(range(items))
    assert sorted(one.piece.start for one in w.gave_up) == sorted(item for item in bad if item < items)
    assert all(one.peer in w.lies for one in w.caught)
    if policy in ("quorum:2", "quorum:3", "audit:1.0"):
        assert all(one.key == right(one.piece) for one in w.settled.values())
