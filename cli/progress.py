"""Follow a job to its end: a live progress bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from cli.console import clean, err, say
from cli.text import count, seconds, with_names
from peer.control_client import ControlClient
from peer.views import JobState, JobView

RUNNING_STATES = (JobState.CALLING, JobState.RUNNING)
PLAIN_STEPS = 10
# The first three are accepted for now: a liar caught later may still take results back.
SETTLED_STATES = ("voted", "audited", "trusted", "accepted", "failed")


def follow(client: ControlClient, job: str, on_view: Callable[[JobView], None]) -> JobView:
    """Call `on_view` at each change of the job until it has ended; its last view."""
    version = 0
    while True:
        change = client.wait_change(job, version)
        on_view(change.view)
        if change.view.state not in RUNNING_STATES:
            return change.view
        version = change.version


class JobProgress:
    """What a user sees of a running job, on standard error; `with_story` prints its events as they come."""

    def __init__(self, title: str, *, with_story: bool = False) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=err(),
        )
        self._task = self._bar.add_task(title, total=None, detail="")
        self._waiting = Text("  starting", "dim")
        self._live = Live(Group(self._bar, self._waiting), console=self._bar.console, transient=True)
        self._story = StoryTail() if with_story else None
        self._plain = PlainLines()
        self._plan = PlanOnce()

    def __enter__(self) -> Self:
        if self._bar.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()

    def show(self, job: JobView) -> None:
        """Show this view."""
        if self._story is not None:
            for line in self._story.new_lines(job):
                self._bar.console.print(f"  {line}")
        for line in self._plan.new_lines(job):
            say(line)
        if not self._bar.console.is_terminal:
            self._plain.show(job)
            return
        self._bar.update(self._task, completed=ended(job), total=job.items, detail=detail(job))
        self._live.update(Group(self._bar, Text(f"  {clean(with_names(waiting_for(job), job))}", "dim")))

    def note(self, text: str) -> None:
        """One more line above the bar."""
        self._bar.console.print(text)


class StoryTail:
    """The lines of a job's story that were not shown yet; a view holds the last ones only."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    def new_lines(self, job: JobView) -> list[str]:
        """The events of this view after those of the last one."""
        known = next((n for n in range(len(job.events), 0, -1) if self._shown[-n:] == job.events[:n]), 0)
        self._shown = list(job.events)
        return [clean(with_names(line, job)) for line in job.events[known:]]


class PlanOnce:
    """The plan when the first peers are there, and again if it comes to promise the target, or no longer does."""

    def __init__(self) -> None:
        self._promised: bool | None = None

    def new_lines(self, job: JobView) -> list[str]:
        """What to print for this view."""
        promised = not job.shortfall
        if not job.plan or promised is self._promised or job.state.is_final:
            return []
        self._promised = promised
        return [f"plan: {job.plan}", *([job.shortfall] if job.shortfall else [])]


class PlainLines:
    """Progress for logs and pipes: a line for each new thing that is waited for and for each tenth of the work."""

    def __init__(self) -> None:
        self._message = ""
        self._step = 0

    def show(self, job: JobView) -> None:
        """Print what is new in this view."""
        step = ended(job) * PLAIN_STEPS // max(1, job.items)
        if step > self._step:
            self._step = step
            say(f"{job.name}: {ended(job)} of {job.items} {detail(job)}")
        elif job.message and job.message != self._message and not ended(job):
            say(f"{job.name}: {with_names(job.message, job)}")
        self._message = job.message


def waiting_for(job: JobView) -> str:
    """One line on what the job waits for most, and how long the rest will take; `peer job show` says more."""
    left = f"about {seconds(job.left_s)} left" if job.left_s is not None else ""
    return "; ".join(filter(None, [left, job.message or next(iter(job.waits), "")]))


def ended(job: JobView) -> int:
    """Items that have come to their end, well or not."""
    return job.items_done + job.items_failed


def detail(job: JobView) -> str:
    """Chunks, workers and speed, for the end of the bar."""
    done = sum(job.chunks.get(state, 0) for state in SETTLED_STATES)
    workers = sum(1 for one in job.workers if one.state == "working")
    rate = ended(job) / job.elapsed_s if job.elapsed_s > 0 else 0.0
    chunks = f"{done}/{sum(job.chunks.values()) - job.chunks.get('split', 0)} chunks"
    return f"items · {chunks} · {count(workers, 'worker')} · {rate:,.1f}/s"
