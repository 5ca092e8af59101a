"""How one job stands: its state and message, since when, and the story of what happened."""

from collections import deque
from collections.abc import Callable

import trio

from peer.job_sum import STORY_LINES_MAX
from peer.views import JobState


class Standing:
    """From the start of the job's runner to its end; `on_change` is called at each new line of the story."""

    def __init__(self, wall_clock: Callable[[], float], on_change: Callable[[], None]) -> None:
        self._wall_clock = wall_clock
        self._on_change = on_change
        self._story: deque[str] = deque(maxlen=STORY_LINES_MAX)
        self._started_at = trio.current_time()
        self._ended_at: float | None = None
        self._finished = trio.Event()
        self.state = JobState.CALLING
        self.message = ""
        self.submitted_at_unix_s = wall_clock()
        self.ended_at_unix_s = 0.0

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self._finished.is_set()

    async def wait_finished(self) -> None:
        """Until the job has ended."""
        await self._finished.wait()

    def started(self) -> None:
        """A first worker is there."""
        if self.state is JobState.CALLING:
            self.state = JobState.RUNNING

    def end(self, state: JobState, message: str) -> None:
        """The job is over; call it once."""
        self.state, self.message = state, message
        self._ended_at, self.ended_at_unix_s = trio.current_time(), self._wall_clock()
        self._finished.set()

    def elapsed_s(self) -> float:
        """Seconds from the start until now, or until the end."""
        until = self._ended_at if self._ended_at is not None else trio.current_time()
        return until - self._started_at

    def note(self, line: str) -> None:
        """A line of the story, with the seconds since the start."""
        self._story.append(f"{trio.current_time() - self._started_at:7.1f} s  {line}")
        self._on_change()

    def story(self) -> list[str]:
        """The last lines."""
        return list(self._story)
