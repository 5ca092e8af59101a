"""Results of an earlier run: which are of use, what is waited for, and that they count no more than any others."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_job_machine import World, right, world

from protocol.chunk import Failure
from protocol.chunk_book import ChunkBook
from protocol.ids import PeerId, digest
from protocol.job_events import (
    CancelReplicas,
    Effect,
    Ending,
    FailureArrived,
    How,
    KeptOffered,
    KeptRefused,
    KeptWanted,
    Piece,
    ResultArrived,
    Tick,
    WorkerLost,
    WorkerReady,
)
from protocol.limits import HAND_OVER_S_MAX
from protocol.messages.job import FailureKind

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")


@dataclass
class KeptWorld(World):
    """With workers that have kept something."""

    wanted: list[KeptWanted] = field(default_factory=list)
    refused: list[KeptRefused] = field(default_factory=list)
    cancelled: list[CancelReplicas] = field(default_factory=list)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case KeptWanted():
                self.wanted.append(effect)
            case KeptRefused():
                self.refused.append(effect)
            case CancelReplicas():
                self.cancelled.append(effect)
        super()._carry_out(effect)

    def offer(
        self, peer: PeerId, start: int, stop: int, *, running: bool = False, party: str | None = None
    ) -> Piece | None:
        """What is wanted of it."""
        before = len(self.wanted)
        terms = WorkerReady(peer, 1, 1, price=1.0, speed=1.0, party=party)
        self.tell(KeptOffered(terms, start, stop, running))
        return self.wanted[-1].piece if len(self.wanted) > before else None

    def give(self, peer: PeerId, piece: Piece, key: bytes | None = None) -> None:
        self.tell(ResultArrived(peer, piece.chunk, key or right(piece), 1.0, kept=True))


def kept_world(policy: str = "none", items: int = 20, seed: int = 0) -> KeptWorld:
    made = world(policy, items, seed=seed)
    return KeptWorld(made.machine, seed=seed)


def test_what_is_handed_over_is_neither_given_to_others_nor_run_again() -> None:
    w = kept_world()
    piece = w.offer(A, 7, 9)
    assert piece is not None and (piece.start, piece.stop) == (7, 9)
    w.join("b")
    for _ in range(5):
        w.step()
    assert not any(one.start < 9 and one.stop > 7 for one in w.queues[B])
    w.give(A, piece)
    w.run()
    assert w.covered() == list(range(20)) and w.ended is not None and w.ended.ending is Ending.DONE
    assert w.settled[piece.chunk].source == A and w.paid[A] == [piece.chunk]
    assert w.machine.workers.tallies[A].handed_over == 1


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 30), (19, 21), (3, 3)])
def test_items_that_are_in_another_chunk_or_none_are_refused(start: int, stop: int) -> None:
    w = kept_world()
    w.machine.book.cut(3, 1)
    assert w.offer(A, start, stop) is None
    assert [(one.peer, one.start, one.stop) for one in w.refused] == [(A, start, stop)]


def test_what_is_done_or_given_already_is_refused() -> None:
    w = kept_world("quorum:2")
    piece = w.offer(A, 0, 2)
    assert piece is not None
    w.give(A, piece)
    assert w.offer(A, 0, 2) is None, "one vote each"
    assert w.offer(B, 0, 2) == piece
    w.give(B, piece)
    assert w.settled[piece.chunk].how is How.VOTED
    assert w.offer(C, 0, 2) is None and w.machine.workers.tallies.keys() == {A, B}


def test_two_peers_of_one_party_do_not_both_count() -> None:
    w = kept_world("quorum:2")
    assert w.offer(A, 0, 2, party="10.0.0") is not None
    assert w.offer(B, 0, 2, party="10.0.0") is None


def test_a_promise_that_is_not_kept_is_waited_for_so_long_and_no_longer() -> None:
    w = kept_world(items=1)
    piece = w.offer(A, 0, 1)
    w.join("b")
    assert piece is not None and not w.queues[B]
    deadline = w.machine.next_deadline()
    assert deadline is not None and deadline <= HAND_OVER_S_MAX
    w.now = HAND_OVER_S_MAX - 1.0
    w._heartbeats()
    assert not w.queues[B] and w.ended is None, "it is no standstill"
    w.now = HAND_OVER_S_MAX
    w.tell(Tick())
    assert w.queues[B] == [piece]
    w.give(A, piece)
    assert w.settled[piece.chunk].source == A, "late, and of use all the same"
    assert w.cancelled == [CancelReplicas(B, (piece.chunk,))]


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_a_promise_ends_with_its_worker(how: str) -> None:
    w = kept_world(items=1)
    piece = w.offer(A, 0, 1)
    assert piece is not None
    w.join("b")
    if how == "lost":
        w.tell(WorkerLost(A, "gone"))
    else:
        w.tell(FailureArrived(A, piece.chunk, Failure(FailureKind.CRASHED, 0, "")))
    assert w.queues[B] == [piece]


def test_what_still_runs_counts_as_given_once_the_worker_takes_part() -> None:
    w = kept_world(items=2)
    piece = w.offer(A, 0, 1, running=True)
    w.join("a")
    assert piece is not None and piece not in w.queues[A], "it has it already"
    assert A in w.machine.book.open[piece.chunk].live
    w.tell(WorkerLost(A, "gone"))
    del w.queues[A]
    w.join("b")
    assert piece in w.queues[B], "it goes back as anything else does"


def test_a_liar_gains_nothing_by_handing_over_its_lies() -> None:
    w = kept_world("quorum:2", items=6)
    for start in range(6):
        piece = w.offer(A, start, start + 1)
        assert piece is not None
        w.give(A, piece, digest(b"wrong"))
    assert not w.settled
    w.join("b", "c")
    w.run()
    assert [one.peer for one in w.caught] == [A] and A not in w.paid
    assert all(one.key == right(one.piece) for one in w.settled.values()) and w.covered() == list(range(6))
    assert w.offer(A, 0, 1) is None


OFFERS = st.lists(
    st.tuples(
        st.sampled_from([A, B, C]),
        st.integers(0, 29),
        st.integers(1, 4),
        st.booleans(),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=12,
)


@given(st.sampled_from(["none", "quorum:2", "audit:0.5", "adaptive"]), OFFERS, st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_whatever_is_offered_every_item_is_done_once(policy: str, offers: list, seed: int) -> None:
    """Some of it is given, some never, some fails; a lies in all that it hands over."""
    w = kept_world(policy, items=30, seed=seed)
    random = Random(seed)
    open_offers: list[tuple[PeerId, Piece]] = []
    if random.random() < 0.5:
        w.join("b", "f", "g")
    for peer, start, count, running, given_at_once, steps in offers:
        if (piece := w.offer(peer, start, min(30, start + count), running=running)) is not None:
            open_offers.append((peer, piece))
        if given_at_once and open_offers:
            who, piece = open_offers.pop(random.randrange(len(open_offers)))
            w.give(who, piece, digest(b"wrong") if who == A and policy != "none" else None)
        for _ in range(steps if w.queues else 0):
            w.step()
    w.join("c", "d", "e")
    w.run()
    assert w.ended is not None and w.ended.ending is Ending.DONE, w.ended
    assert w.covered() == list(range(30))
    assert policy in ("none", "audit:0.5", "adaptive") or all(one.key == right(one.piece) for one in w.settled.values())


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(1, 7)), max_size=30))
def test_no_item_is_ever_in_two_chunks(steps: list[tuple[bool, int, int]]) -> None:
    book = ChunkBook()
    book.sizes_bytes.extend([1] * 40)
    seen: list[int] = []
    for front, start, count in steps:
        chunk = (book.cut(count, 1) if book.uncut else None) if front else book.cut_out(start, start + count, 1)
        if chunk is not None:
            assert front or (chunk.start, chunk.stop) == (start, start + count)
            assert book.of(chunk.start, chunk.stop) is chunk
            seen.extend(range(chunk.start, chunk.stop))
        else:
            wanted = set(range(start, start + count))
            assert front or wanted & set(seen) or start + count > 40, "it was refused for no reason"
        assert book.uncut == 40 - len(seen) == 40 - len(set(seen))
        book.check_invariants()
    while book.uncut:
        chunk = book.cut(100, 1)
        seen.extend(range(chunk.start, chunk.stop))
    assert sorted(seen) == list(range(40))
