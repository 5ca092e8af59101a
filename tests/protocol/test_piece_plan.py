"""The piece plan: whatever holders do, every piece that an honest one has is asked for and the books agree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.errors import LocalError
from protocol.piece_plan import ASKED_AT_ONCE_MAX, HEDGE_FIRST_S, PiecePlan

HOLDERS = ("a", "b", "c", "d")


class Download(RuleBasedStateMachine):
    """Holders come, go, answer well or badly, in any order; in the end an honest one finishes it alone."""

    @initialize(pieces=st.integers(1, 12))
    def begin(self, pieces: int) -> None:
        self.pieces = pieces
        self.plan: PiecePlan[str] = PiecePlan(pieces, (1 << pieces) - 1)
        self.asked: dict[str, list[int]] = {}
        self.banned: set[str] = set()
        self.got: set[int] = set()
        self.now = 0.0

    @rule(holder=st.sampled_from(HOLDERS), held=st.integers(0, (1 << 12) - 1))
    def join(self, holder: str, held: int) -> None:
        self.plan.join(holder, held)
        if holder not in self.banned:
            self.asked.setdefault(holder, [])

    @rule(holder=st.sampled_from(HOLDERS))
    def leave(self, holder: str) -> None:
        self.plan.leave(holder)
        self.asked.pop(holder, None)

    @rule(holder=st.sampled_from(HOLDERS), seconds=st.floats(0, 5))
    def ask(self, holder: str, seconds: float) -> None:
        self.now += seconds
        piece = self.plan.next_piece(holder, self.now)
        if piece is None:
            return
        assert piece not in self.got and piece not in self.asked[holder] and holder not in self.banned
        others = sum(piece in asked for asked in self.asked.values())
        assert others < ASKED_AT_ONCE_MAX
        self.asked[holder].append(piece)

    @precondition(lambda self: any(self.asked.values()))
    @rule(data=st.data(), how=st.sampled_from(["good", "bad", "lost"]))
    def answer(self, data: st.DataObject, how: str) -> None:
        holder = data.draw(st.sampled_from([one for one in HOLDERS if self.asked.get(one)]))
        piece = data.draw(st.sampled_from(self.asked[holder]))
        if how == "good":
            assert self.plan.arrived(holder, piece, self.now) == (piece not in self.got)
            self.got.add(piece)
        elif how == "bad":
            self.plan.spoiled(holder, piece)
            self.banned.add(holder)
            del self.asked[holder]
            return
        else:
            self.plan.lost(holder, piece)
        self.asked[holder].remove(piece)

    @invariant()
    def books_agree(self) -> None:
        self.plan.check_invariants()
        assert self.plan.done == (len(self.got) == self.pieces)
        assert all(self.plan.is_banned(one) for one in self.banned)

    def teardown(self) -> None:
        if not hasattr(self, "plan"):
            return
        self.plan.join("honest", (1 << self.pieces) - 1)
        self.now += 1e9  # What others owe is overdue by now; of two who owe it, one must leave first.
        for holder in list(self.asked):
            self.plan.leave(holder)
        while (piece := self.plan.next_piece("honest", self.now)) is not None:
            self.plan.arrived("honest", piece, self.now)
            self.plan.check_invariants()
        assert self.plan.done


TestDownload = Download.TestCase
TestDownload.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=5))
def test_the_rarest_piece_goes_first(helds) -> None:
    plan: PiecePlan[int] = PiecePlan(8, 255)
    for number, held in enumerate(helds):
        plan.join(number, held)
    plan.join(-1, 255)
    copies = [sum(held >> piece & 1 for held in helds) for piece in range(8)]
    order = [plan.next_piece(-1, 0.0) for _ in range(8)]
    assert order == sorted(range(8), key=lambda piece: (copies[piece], piece))


def test_an_idle_holder_is_given_what_a_slow_one_owes_once_it_is_overdue() -> None:
    plan: PiecePlan[str] = PiecePlan(2, 0b11)
    plan.join("slow", 0b11)
    plan.join("fast", 0b11)
    assert plan.next_piece("slow", 0.0) == 0 and plan.next_piece("fast", 0.0) == 1
    plan.arrived("fast", 1, 1.0)
    due = plan.next_hedge_at("fast")
    assert plan.next_piece("fast", due - 0.01) is None
    assert plan.next_piece("fast", due) == 0
    assert plan.next_piece("fast", 1e9) is None and plan.next_piece("slow", 1e9) is None
    assert plan.arrived("fast", 0, 5.0) and plan.done
    assert not plan.arrived("slow", 0, 9.0)


def test_before_anything_has_come_patience_has_a_bound_of_its_own() -> None:
    plan: PiecePlan[str] = PiecePlan(1, 1)
    plan.join("silent", 1)
    plan.join("other", 1)
    plan.next_piece("silent", 0.0)
    assert plan.next_piece("other", HEDGE_FIRST_S - 0.1) is None and plan.next_piece("other", HEDGE_FIRST_S) == 0


def test_answers_that_nobody_asked_for_are_errors() -> None:
    plan: PiecePlan[str] = PiecePlan(1, 1)
    plan.join("a", 1)
    for holder in ("a", "b"):
        with pytest.raises(LocalError, match="not asked"):
            plan.arrived(holder, 0, 0.0)


def test_a_large_plan_is_fast_enough() -> None:
    pieces = 1 << 14
    plan: PiecePlan[str] = PiecePlan(pieces, (1 << pieces) - 1)
    for holder in HOLDERS:
        plan.join(holder, (1 << pieces) - 1)
    for _ in range(pieces):
        piece = plan.next_piece("a", 0.0)
        assert piece is not None
        plan.arrived("a", piece, 0.0)
    assert plan.done
