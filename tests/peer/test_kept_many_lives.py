"""Whenever its coordinator dies, and for however long: what a worker has begun is kept, and never run again."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from dying_journal import DyingJournal, Killed
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import ITEMS, SQUARES, finish, pass_time, running, square, wanted
from village import FunctionExecutor, Village, village

from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.seam import Seam
from peer.views import JobState
from protocol.ids import JobId

LIVES = st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(0.0, 9.0)), min_size=1, max_size=6)
"""How long the coordinator lives, and then is dead."""


async def one_worker(v: Village, slots: int = 2) -> Seam:
    """Nobody else runs second copies of what is late; and the seam of a coordinator."""
    await v.worker("a", FunctionExecutor(square, item_s=1.5), slots=slots)
    return v.seam("coordinator", FunctionExecutor(square))


async def ends_well(v: Village, coordinator: Coordinator, job: JobId) -> None:
    view, lines = await finish(v, coordinator, job)
    assert (view.state, [line.result for line in lines]) == (JobState.DONE, SQUARES)
    assert Counter(v.executors["a"].runs) == Counter(dict.fromkeys(ITEMS, 1)), "something was run again"
    assert view.executions == len(ITEMS)
    await pass_time(30.0)
    assert not v.workers["a"].view().slots_busy
    v.workers["a"].check_invariants()
    # Who dies between writing a receipt and sending it does not send it.
    assert v.workers["a"].view().credits_earned <= v.journal.credits()["spent"] + 1e-6 <= 36.0 + 2e-6


async def all_lives(lives: list[tuple[float, float]]) -> None:
    async with village() as v:
        seam = await one_worker(v)
        async with running(v, seam) as coordinator:
            job = coordinator.submit(wanted())
        for alive_s, dead_s in lives:
            async with running(v, seam) as coordinator:
                coordinator.resume_unfinished()
                await pass_time(alive_s)
            await pass_time(dead_s)
        async with running(v, seam) as coordinator:
            coordinator.resume_unfinished()
            await ends_well(v, coordinator, job)
        assert not v.workers["a"].view().kept
        assert v.workers["a"].view().credits_earned == pytest.approx(v.journal.credits()["spent"])


@pytest.mark.slow
@given(LIVES)
@settings(max_examples=40, deadline=None)
def test_nothing_is_run_twice_over_any_lives_of_the_coordinator(lives: list[tuple[float, float]]) -> None:
    trio.run(all_lives, lives, clock=trio.testing.MockClock(autojump_threshold=0))


async def killed_at(write: int, *, after: bool, dead_s: float) -> bool:
    """Whether it was."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        async with village() as v:
            seam = await one_worker(v)
            v.journal.close()
            v.journal = dying = DyingJournal.open_dying(path, write, after=after)
            killed = False
            try:
                async with running(v, seam) as coordinator:
                    job = coordinator.submit(wanted())
                    await finish(v, coordinator, job)
            except* Killed:
                killed = True
            dying.close()
            v.journal = Journal.open(path)
            await pass_time(dead_s)
            async with running(v, seam) as coordinator:
                coordinator.resume_unfinished()
                for view in v.journal.jobs():
                    await ends_well(v, coordinator, JobId(view.id))
            v.journal.close()
        return killed


@pytest.mark.slow
@pytest.mark.parametrize("dead_s", [0.0, 5.0])
@pytest.mark.parametrize("after", [False, True])
async def test_nothing_is_run_twice_at_whatever_write_the_coordinator_is_killed(
    autojump_clock: trio.testing.MockClock, dead_s: float, *, after: bool
) -> None:
    write = 1
    while await killed_at(write, after=after, dead_s=dead_s):
        write += 1
    assert write > 12
