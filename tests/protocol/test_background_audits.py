"""Audits of results that count already, and what follows from them: by hand, one event after the other."""

from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.adaptive import Adaptive
from protocol.chunk import ChunkState
from protocol.court import NOT_DETERMINISTIC
from protocol.ids import ChunkId, PeerId, digest
from protocol.job_events import (
    AssignChunks,
    AuditDone,
    CancelReplicas,
    Dismiss,
    Effect,
    Ending,
    Event,
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
    Upheld,
    WorkerCondemned,
    WorkerLost,
    WorkerReady,
)
from protocol.job_machine import JobMachine, JobRules
from protocol.planner import Target

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")
RIGHT, WRONG, OTHER = digest(b"right"), digest(b"wrong"), digest(b"other")
WELL_KNOWN = 1e9
"""So many clean results that a draw hardly ever falls on the next one."""
CHUNK_S = 1.0
SHARE = 0.25
ROOM_AT_S = CHUNK_S / SHARE

EffectT = TypeVar("EffectT")


class Draws(Random):
    """The secret draw falls on a stranger's result or on nothing, as told; the first result that counts is audited."""

    on_strangers = False

    def random(self) -> float:
        return 0.5 if self.on_strangers else 0.999

    def randrange(self, stop: int) -> int:  # type: ignore[override]
        return 0


@dataclass
class Stand:
    """One job and its effects; chunks are single items, and each takes `CHUNK_S`."""

    items: int = 20
    share: float = SHARE
    slots: int = 1
    can_audit: bool = True
    overhead: float = 2.0
    random: Draws = field(default_factory=lambda: Draws(0))
    now: float = 0.0
    held: dict[PeerId, list[Piece]] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        target = Target(audit_share=self.share, max_overhead=self.overhead)
        rules = JobRules(
            Adaptive(target), can_audit=self.can_audit, target=target, own_slots=self.slots, worker_wait_s=20.0
        )
        self.machine = JobMachine(rules, self.random)
        self.tell(ItemsAdded((10,) * self.items), ItemsClosed())

    def tell(self, *events: Event) -> list[Effect]:
        """The effects of these events alone."""
        before = len(self.effects)
        for event in events:
            effects = self.machine.handle(event, self.now)
            self.effects += effects
            for effect in effects:
                self._note(effect)
            self.machine.check_invariants()
        return self.effects[before:]

    def _note(self, effect: Effect) -> None:
        match effect:
            case AssignChunks(peer, pieces):
                self.held[peer].extend(pieces)
            case CancelReplicas(peer, chunks):
                self.held[peer] = [piece for piece in self.held[peer] if piece.chunk not in chunks]
            case Dismiss(peer):
                self.held[peer] = []

    def join(self, *peers: PeerId, clean: float = WELL_KNOWN) -> None:
        for peer in peers:
            self.held[peer] = []
            self.tell(WorkerReady(peer, 1, 64, price=1.0, speed=1.0, clean=clean))

    def give(self, peer: PeerId, key: bytes = RIGHT) -> ChunkId:
        """The peer gives a result for the first chunk that it holds."""
        piece = self.held[peer].pop(0)
        self.tell(ResultArrived(peer, piece.chunk, key, CHUNK_S * (piece.stop - piece.start)))
        return piece.chunk

    def at(self, moment_s: float) -> list[Effect]:
        self.now = moment_s
        return self.tell(*(HeardFrom(peer, ()) for peer in self.held), Tick())

    def all(self, kind: type[EffectT]) -> list[EffectT]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def state(self, chunk: ChunkId) -> ChunkState | None:
        found = self.machine.book.get(chunk)
        return found and found.state

    def finish(self, *peers: PeerId) -> None:
        """These do what is left, and rightly; audits that are asked for are run."""
        while self.machine.ended is None:
            busy = [peer for peer in peers if self.held[peer]]
            assert busy or self.audit_next(), "nothing can happen any more"
            for peer in busy:
                self.give(peer)

    def audit_next(self, key: bytes = RIGHT) -> bool:
        """Whether an audit was waiting; it came to `key`."""
        if asked := self.audited_now():
            self.tell(AuditDone(asked[0], key, CHUNK_S))
        return bool(asked)

    def audited_now(self) -> list[ChunkId]:
        """Chunks whose audit was asked for and has no answer yet."""
        found = [*self.machine.book.open.values(), *self.machine.book.settled.values()]
        return [chunk.id for chunk in found if chunk.audit_pending]


def known(kinds: list[Effect], *wanted: type) -> list[Effect]:
    return [effect for effect in kinds if isinstance(effect, wanted)]


def with_an_audit(key: bytes, **changes: object) -> tuple[Stand, ChunkId]:
    """A has given three results, the first of them with `key`; all count, and the first is being audited."""
    stand = Stand(**changes)  # type: ignore[arg-type]
    stand.join(A)
    first = stand.give(A, key)
    stand.give(A)
    stand.give(A)
    assert stand.state(first) is ChunkState.TRUSTED and not stand.all(RunAudit)
    assert known(stand.at(ROOM_AT_S), RunAudit) == [RunAudit(Piece(first, 0, 1))]
    return stand, first


def test_a_result_that_counts_is_upheld_and_its_giver_credited() -> None:
    stand, first = with_an_audit(RIGHT)
    clean = stand.machine.workers.tallies[A].clean
    assert known(stand.tell(AuditDone(first, RIGHT, CHUNK_S)), Upheld, Revoked) == [Upheld(Piece(first, 0, 1))]
    tally = stand.machine.workers.tallies[A]
    assert stand.state(first) is ChunkState.AUDITED
    assert (tally.audits, tally.clean) == (1, clean), "it had counted as clean before"
    assert stand.machine.court.confirmed == 1
    stand.finish(A)
    assert stand.machine.ended == JobEnded(Ending.DONE) and not stand.all(LieCaught)


def test_a_result_that_counts_is_overturned_and_its_giver_convicted() -> None:
    stand, first = with_an_audit(WRONG)
    again = stand.tell(AuditDone(first, RIGHT, CHUNK_S))
    assert known(again, Revoked, LieCaught, Dismiss) == [], "one execution is no proof"
    assert known(again, RunAudit) == [RunAudit(Piece(first, 0, 1), disputed=True, fresh=True)]
    effects = stand.tell(AuditDone(first, RIGHT, CHUNK_S))
    assert known(effects, Revoked)[0] == Revoked(Piece(first, 0, 1))
    assert known(effects, Settled) == [Settled(Piece(first, 0, 1), RIGHT, None, How.AUDITED)]
    assert known(effects, LieCaught) == [LieCaught(A, Piece(first, 0, 1), WRONG, RIGHT, revoked=2)]
    assert known(effects, Dismiss) == [Dismiss(A, "caught lying")]
    revoked = [one.piece.chunk for one in stand.all(Revoked)]
    assert revoked == [0, 1, 2] and [stand.state(chunk) for chunk in revoked[1:]] == [ChunkState.PENDING] * 2
    stand.join(B)
    stand.finish(B)
    last = {one.piece.chunk: one for one in stand.all(Settled)}
    assert sorted(last) == list(range(20)) and all(one.key == RIGHT for one in last.values())
    assert [one.source for one in list(last.values())[1:]] == [B] * 19
    assert {one.peer for one in stand.all(Pay)} == {B}
    brought = stand.machine.workers.tallies[B].clean_before
    assert stand.machine.workers.tallies[B].clean == brought + 19, "the liar's word before took nothing from it"


def test_a_function_that_gives_something_else_here_each_time_convicts_nobody() -> None:
    stand, first = with_an_audit(WRONG)
    stand.tell(AuditDone(first, RIGHT, CHUNK_S))
    effects = stand.tell(AuditDone(first, OTHER, CHUNK_S))
    assert known(effects, LieCaught, Dismiss, Revoked) == []
    assert stand.machine.ended == JobEnded(Ending.FAILED, NOT_DETERMINISTIC)
    assert stand.machine.workers.tallies[A].banned is None
    assert [pay.peer for pay in stand.all(Pay)] == [A], "what counted until then is paid for"


def test_an_audit_that_agrees_at_the_second_try_upholds_the_result() -> None:
    stand, first = with_an_audit(RIGHT)
    stand.tell(AuditDone(first, WRONG, CHUNK_S))
    assert known(stand.tell(AuditDone(first, RIGHT, CHUNK_S)), Upheld, Revoked) == [Upheld(Piece(first, 0, 1))]


def test_an_audit_that_could_not_be_run_changes_nothing() -> None:
    stand, first = with_an_audit(RIGHT)
    assert known(stand.tell(AuditDone(first, None, CHUNK_S)), Upheld, Revoked, RunAudit, LieCaught) == []
    assert stand.state(first) is ChunkState.TRUSTED
    stand.finish(A)
    assert stand.machine.ended == JobEnded(Ending.DONE)


def test_what_two_gave_alike_is_overturned_for_both() -> None:
    """Colluders who make a vote are not safe: what they agreed on is audited like the rest."""
    stand = Stand()
    stand.random.on_strangers = True
    stand.join(A, B, clean=0)
    first, other = stand.give(A, WRONG), stand.give(B)
    assert stand.give(B, WRONG) == first and stand.state(first) is ChunkState.VOTED
    assert known(stand.at(ROOM_AT_S), RunAudit) == [RunAudit(Piece(first, 0, 1))]
    stand.tell(AuditDone(first, RIGHT, CHUNK_S), AuditDone(first, RIGHT, CHUNK_S))
    assert [(one.peer, one.given) for one in stand.all(LieCaught)] == [(A, WRONG), (B, WRONG)]
    assert stand.state(first) is ChunkState.AUDITED and stand.state(other) is ChunkState.PENDING


# The room for audits.


@pytest.mark.parametrize(("share", "slots"), [(0.25, 1), (0.25, 4), (0.5, 1), (1.0, 1)])
def test_audits_keep_to_the_share_of_the_own_slots(share: float, slots: int) -> None:
    """What they took is never above the share of the time so far; and they use it, as far as the cap allows."""
    stand = Stand(items=400, share=share, slots=slots, overhead=8.0)
    stand.join(A)
    audits = 0
    for step in range(1, 200):
        stand.at(step * CHUNK_S)
        stand.give(A)
        while stand.audit_next():
            audits += 1
            assert audits * CHUNK_S <= share * slots * stand.now
    assert audits >= min(0.6 * 199, 0.9 * share * slots * 199)


def test_audits_keep_to_their_part_of_the_overhead() -> None:
    """With all the time in the world, one in ten of the results that count: a tenth of one execution more."""
    stand = Stand(items=400, share=1.0, slots=100)
    stand.join(A)
    for step in range(1, 200):
        stand.at(step * 100.0)
        stand.give(A)
        while stand.audit_next():
            pass
    assert 15 <= stand.machine.court.audits <= 20


@pytest.mark.parametrize("changes", [{"share": 0.0}, {"can_audit": False}, {"overhead": 1.0}])
def test_where_there_is_no_room_nothing_is_audited(changes: dict[str, object]) -> None:
    stand = Stand(**changes)  # type: ignore[arg-type]
    stand.join(A)
    stand.give(A)
    assert known(stand.at(100.0), RunAudit) == []
    stand.finish(A)
    assert stand.machine.ended == JobEnded(Ending.DONE)


def test_the_machine_says_when_there_is_room() -> None:
    """Nothing else happens then: without a `Tick` of its own the audit would wait for the next result."""
    stand = Stand()
    stand.join(A)
    stand.give(A)
    deadline = stand.machine.next_deadline()
    assert deadline == ROOM_AT_S
    assert known(stand.at(deadline - 0.01), RunAudit) == [] and known(stand.at(deadline), RunAudit) != []
    assert known(stand.at(2 * deadline), RunAudit) == [], "one at a time"


# Where nobody can give a second vote.


def test_a_single_stranger_is_checked_by_executions_here() -> None:
    stand = Stand(items=3)
    stand.random.on_strangers = True
    stand.join(A, clean=0)
    for _ in range(3):
        stand.give(A)
    assert not stand.all(Settled) and not stand.all(RunAudit)
    asked = known(stand.at(stand.machine.rules.worker_wait_s), RunAudit)
    assert [one.piece.chunk for one in asked] == [0, 1, 2]  # type: ignore[attr-defined]
    stand.finish(A)
    assert [one.how for one in stand.all(Settled)] == [How.AUDITED] * 3
    assert stand.machine.ended == JobEnded(Ending.DONE) and [pay.peer for pay in stand.all(Pay)] == [A]


def test_a_single_stranger_that_lies_is_convicted_all_the_same() -> None:
    stand = Stand(items=2)
    stand.random.on_strangers = True
    stand.join(A, clean=0)
    stand.give(A, WRONG), stand.give(A, WRONG)
    stand.at(stand.machine.rules.worker_wait_s)
    stand.tell(AuditDone(ChunkId(0), RIGHT, CHUNK_S), AuditDone(ChunkId(0), RIGHT, CHUNK_S))
    assert [one.peer for one in stand.all(LieCaught)] == [A]
    stand.join(B, clean=0)
    stand.random.on_strangers = False
    stand.finish(B)
    assert {one.piece.chunk: one.key for one in stand.all(Settled)} == {0: RIGHT, 1: RIGHT}


def test_where_nothing_can_be_executed_here_the_lack_of_peers_is_named() -> None:
    stand = Stand(items=1, can_audit=False)
    stand.random.on_strangers = True
    stand.join(A, clean=0)
    stand.give(A)
    stand.at(stand.machine.rules.worker_wait_s)
    assert stand.machine.ended == JobEnded(Ending.FAILED, "no peer is left that may take the remaining chunks")


# Condemned elsewhere.


def test_what_a_condemned_peer_gave_is_done_again_but_what_was_audited_stands() -> None:
    stand, first = with_an_audit(RIGHT)
    stand.tell(AuditDone(first, RIGHT, CHUNK_S))
    effects = stand.tell(WorkerCondemned(A, "caught lying in job 7"))
    assert known(effects, Dismiss) == [Dismiss(A, "caught lying in job 7")]
    assert known(effects, Revoked) == [Revoked(Piece(ChunkId(1), 1, 2)), Revoked(Piece(ChunkId(2), 2, 3))]
    assert known(effects, LieCaught) == [], "not for a lie in this job"
    assert stand.state(first) is ChunkState.AUDITED
    assert stand.machine.workers.tallies[A].revoked == 2
    stand.join(B)
    stand.finish(B)
    assert stand.machine.ended == JobEnded(Ending.DONE)
    assert {one.peer for one in stand.all(Pay)} == {B}, "what it had coming is forfeited"


def test_a_condemned_peer_is_turned_away_and_condemned_once() -> None:
    stand = Stand()
    stand.join(A)
    assert known(stand.tell(WorkerCondemned(A, "a"), WorkerCondemned(A, "b")), Dismiss) == [Dismiss(A, "a")]
    stand.tell(WorkerReady(A, 1, 64, price=1.0, speed=1.0, clean=WELL_KNOWN))
    assert stand.all(Dismiss)[-1] == Dismiss(A, "banned in this job") and not stand.held[A]
    assert stand.tell(WorkerCondemned(C, "never seen here")) == []


def test_an_audit_under_way_is_recalled_when_its_giver_is_condemned() -> None:
    stand, first = with_an_audit(WRONG)
    assert known(stand.tell(WorkerCondemned(A, "elsewhere")), RecallAudit) == [RecallAudit(first)]
    assert stand.tell(AuditDone(first, RIGHT, CHUNK_S)) == [], "its answer comes too late"
    stand.join(B)
    stand.finish(B)
    assert stand.machine.ended == JobEnded(Ending.DONE)


def test_the_second_execution_still_decides_when_the_giver_is_condemned_meanwhile() -> None:
    stand, first = with_an_audit(WRONG)
    stand.tell(AuditDone(first, RIGHT, CHUNK_S))
    assert known(stand.tell(WorkerCondemned(A, "elsewhere")), RecallAudit) == []
    effects = stand.tell(AuditDone(first, RIGHT, CHUNK_S))
    assert known(effects, Settled) == [Settled(Piece(first, 0, 1), RIGHT, None, How.AUDITED)]
    assert known(effects, LieCaught) == []


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.floats(0, 1), st.booleans())
def test_in_whatever_order_it_comes_nothing_false_stays_of_who_was_caught(
    seed: int, items: int, lies: float, known_well: bool
) -> None:
    """A lies, B vanishes at times, C stays and is right; audits come late; somebody is condemned elsewhere."""
    random, stand = Random(seed), Stand(items=items)
    stand.random.on_strangers = random.random() < 0.5
    stand.join(A, B, C, clean=WELL_KNOWN if known_well else 0)
    steps = 0
    while stand.machine.ended is None:
        assert (steps := steps + 1) < 5000, "the job does not end"
        stand.at(stand.now + random.random())
        busy = [peer for peer, held in stand.held.items() if held]
        choice = random.random()
        if choice < 0.02:
            stand.tell(WorkerLost(B, "gone"))
            stand.join(B)
        elif choice < 0.025:
            stand.tell(WorkerCondemned(A, "elsewhere"))
        elif choice < 0.3 or not busy:
            stand.audit_next()
        else:
            peer = random.choice(busy)
            stand.give(peer, WRONG if peer == A and random.random() < lies else RIGHT)
    assert stand.machine.ended == JobEnded(Ending.DONE)
    counts = {one.piece.chunk: one for one in stand.all(Settled)}
    assert sorted(counts) == list(range(items))
    assert {one.peer for one in stand.all(LieCaught)} <= {A}
    if stand.machine.workers.banned(A):
        assert all(one.key == RIGHT for one in counts.values()) and A not in {one.peer for one in stand.all(Pay)}
