"""A job through any mixture of kills, stops, pauses and resumes: it ends right, and nothing that stood is run again."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from dying_journal import DyingJournal, Killed
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import SQUARES, finish, life, pass_time, ran, wanted

from peer.coordinator import Coordinator
from peer.journal import Journal
from peer.views import JobState
from protocol.ids import JobId

STEPS = st.one_of(
    st.floats(0.3, 6.0).map(lambda time_s: ("pass", time_s)),
    st.sampled_from([("pause", 0.0), ("resume", 0.0)]),
)
LIVES = st.lists(st.tuples(st.lists(STEPS, max_size=4), st.integers(1, 20), st.booleans()), min_size=1, max_size=5)
"""Each: what is done, the write at which it is killed if it gets there, and whether just after that write."""


def standing(path: Path) -> set[int]:
    """The items that have a result now."""
    journal = Journal.open(path)
    found = {item for view in journal.jobs() for item in journal.outcomes(JobId(view.id))}
    journal.close()
    return found


async def do(coordinator: Coordinator, job: JobId, step: str, time_s: float) -> None:
    state = coordinator.view(job).state
    match step:
        case "pass":
            await pass_time(time_s)
        case "pause" if not state.is_final:
            coordinator.pause(job)
        case "resume" if state is JobState.PAUSED:
            coordinator.resume(job)


async def one_life(path: Path, job: JobId, steps: list[tuple[str, float]], write: int, *, after: bool) -> None:
    stood = standing(path)
    try:
        async with life(DyingJournal.open_dying(path, write, after=after)) as (v, coordinator):
            try:
                coordinator.resume_unfinished()
                for step, time_s in steps:
                    await do(coordinator, job, step, time_s)
                    v.workers["a"].check_invariants()
            finally:
                assert not ran(v) & stood, "what stood was run again"
    except* Killed:
        pass
    assert stood <= standing(path), "a result was lost"


async def all_lives(path: Path, lives: list[tuple[list[tuple[str, float]], int, bool]]) -> None:
    async with life(Journal.open(path)) as (_, coordinator):
        job = coordinator.submit(wanted())
        await pass_time(2.5)
    for steps, write, after in lives:
        await one_life(path, job, steps, write, after=after)
    stood = standing(path)
    async with life(Journal.open(path)) as (v, coordinator):
        coordinator.resume_unfinished()
        if coordinator.view(job).state in (JobState.PAUSED, JobState.INTERRUPTED):
            coordinator.resume(job)
        view, lines = await finish(v, coordinator, job)
        assert (view.state, view.items_done, [line.result for line in lines]) == (JobState.DONE, 24, SQUARES)
        assert not ran(v) & stood and v.journal.credits()["spent"] <= 24.0 + 1e-6


@pytest.mark.slow
@given(LIVES)
@settings(max_examples=25, deadline=None)
def test_a_job_survives_any_lives_of_its_peer(lives: list[tuple[list[tuple[str, float]], int, bool]]) -> None:
    with TemporaryDirectory() as folder:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(all_lives, Path(folder) / "journal.sqlite", lives, clock=clock)
