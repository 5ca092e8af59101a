"""Chunk sizes, queue depths and hedging as pure functions."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.limits import ITEMS_PER_CHUNK_MAX
from protocol.scheduling import (
    CHUNK_S_MAX,
    HEDGE_S_MIN,
    QUEUE_DEPTH_MAX,
    Estimate,
    chunk_items,
    hedge_after_s,
    queue_depth,
)


def test_the_first_chunks_are_single_items() -> None:
    assert chunk_items(1000, 1000, 4, None) == 1


def test_trivial_items_go_in_large_chunks_and_long_ones_alone() -> None:
    assert chunk_items(5000, 5000, 2, 2e-6) == 313
    assert chunk_items(5000, 5000, 2, 3.0) == 1


def test_chunks_shrink_as_the_work_runs_out() -> None:
    sizes = [chunk_items(remaining, 10_000, 4, 0.01) for remaining in (10_000, 400, 100, 40, 10)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


@given(
    remaining=st.integers(1, 10**6),
    extra=st.integers(0, 10**6),
    slots=st.integers(1, 500),
    item_s=st.floats(0.0, 1e4),
)
def test_a_chunk_is_never_empty_nor_over_its_bounds(remaining: int, extra: int, slots: int, item_s: float) -> None:
    items = chunk_items(remaining, remaining + extra, slots, item_s)
    assert 1 <= items <= min(remaining, ITEMS_PER_CHUNK_MAX)
    assert items == 1 or items * item_s <= CHUNK_S_MAX * 1.001


@given(chunk_s=st.floats(0.0, 1e4), remaining_s=st.floats(0.0, 1e6), slots=st.integers(1, 500))
def test_a_queue_holds_at_least_what_runs(chunk_s: float, remaining_s: float, slots: int) -> None:
    assert 1 <= queue_depth(chunk_s, remaining_s, slots) <= QUEUE_DEPTH_MAX


def test_long_chunks_are_not_queued_near_the_end() -> None:
    assert queue_depth(1.0, 2.0, 2) == 1
    assert queue_depth(1.0, 100.0, 2) == 2


def test_a_straggler_is_hedged_after_twice_its_time() -> None:
    assert hedge_after_s(10, 1.0) == 20.0
    assert hedge_after_s(1, 1e-6) == HEDGE_S_MIN


def test_the_estimate_follows_what_is_observed() -> None:
    estimate = Estimate()
    assert estimate.item_s is None
    for _ in range(50):
        estimate.observe(4.0, 2)
    assert estimate.item_s is not None and abs(estimate.item_s - 2.0) < 1e-6
