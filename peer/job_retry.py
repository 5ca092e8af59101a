"""A part of a job that is run after an earlier run: which items, where their results go, the job as a whole meanwhile.

Results that stand are not touched. The others stay in the journal until there are new ones: a retry that comes to
nothing loses nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto

import msgspec

from peer.job_sum import joined
from peer.journal import Journal
from peer.journal_sink import JournalSink
from peer.views import JobState, JobView, ResultLine
from protocol.ids import JobId


class Part(Enum):
    """Which items of a job are run."""

    DOUBTFUL = auto()
    """Those whose results rest on a peer found lying since."""
    NOT_STANDING = auto()
    """Those, and what failed or was never run."""
    REST = auto()
    """What a run that was cut off had still to do: items that failed in it are done with."""


class Retry:
    """The `ResultSink` of the run; a place in the run stands for an item of the job."""

    def __init__(self, journal: Journal, before: JobView, part: Part) -> None:
        job = JobId(before.id)
        outcomes = journal.outcomes(job)
        givers = journal.doubtful(job)
        wanted = _wanted(part, before.items, outcomes, givers, journal.to_run_again(job))
        self.resumes = part is Part.REST
        self.items: Sequence[int] = wanted
        """The items of the job that are run again, in order."""
        self._before = before
        self._sink = JournalSink(journal, job)
        self._old = {item: outcomes[item] for item in wanted if item in outcomes}
        self._reasons = _reasons(wanted, outcomes, givers)
        self._stand = len(outcomes) - len(self._old)
        self._kept_done = sum(outcomes.values()) - sum(self._old.values())
        self._kept_failed = len(outcomes) - len(self._old) - self._kept_done
        self._doubtful = set(givers)
        self._suspects = set(givers.values())

    def in_words(self) -> str:
        """What is run again, and why."""
        reasons = ", ".join(f"{number} {what}" for what, number in self._reasons.items() if number)
        if self.resumes:
            return f"goes on: {self._stand} of {self._before.items} items stand, to run {reasons or 'none'}"
        return f"retry: {reasons}"

    def doubt(self, givers: Mapping[int, str]) -> None:
        """These results of the job, by item, are in doubt with those who gave them."""
        self._doubtful |= givers.keys()
        self._suspects |= set(givers.values())

    # The results of the run (ResultSink).

    def record(self, lines: Sequence[ResultLine]) -> None:
        """In the place of those that there were."""
        lines = [msgspec.structs.replace(line, item=self.items[line.item]) for line in lines]
        self._sink.record(lines)
        for line in lines:
            self._old.pop(line.item, None)
            self._doubtful.discard(line.item)

    def confirm(self, items: Sequence[int]) -> None:
        """See `JournalSink`."""
        self._sink.confirm([self.items[place] for place in items])

    def remove(self, items: Sequence[int]) -> None:
        """See `JournalSink`."""
        self._sink.remove([self.items[place] for place in items])

    # What people see.

    def whole(self, run: JobView) -> JobView:
        """The job, of which `run` is the part that is run again.

        While it runs, items that are run again count as not done yet; at its end, those that kept their old results
        count with these.
        """
        left = list(self._old.values()) if run.state.is_final else []
        done = self._kept_done + run.items_done + sum(left)
        failed = self._kept_failed + run.items_failed + len(left) - sum(left)
        view = joined(self._before, run, kept=self._kept_done + self._kept_failed, suspects=self._suspects)
        return msgspec.structs.replace(
            view,
            retries=self._before.retries + (not self.resumes),
            resumes=self._before.resumes + self.resumes,
            items_done=done,
            items_failed=failed,
            doubtful=len(self._doubtful),
            overhead=view.executions / (done + failed) if done + failed else 0.0,
        )


def _wanted(
    part: Part, items: int, outcomes: Mapping[int, bool], givers: Mapping[int, str], again: Collection[int]
) -> list[int]:
    match part:
        case Part.DOUBTFUL:
            return sorted(givers)
        case Part.NOT_STANDING:
            return [item for item in range(items) if not outcomes.get(item, False) or item in givers]
        case Part.REST:
            return [item for item in range(items) if item not in outcomes or item in givers or item in again]


def _reasons(wanted: Sequence[int], outcomes: Mapping[int, bool], givers: Mapping[int, str]) -> dict[str, int]:
    in_doubt = sum(item in givers for item in wanted)
    missing = sum(item not in outcomes for item in wanted)
    return {"failed": len(wanted) - in_doubt - missing, "without a result": missing, "in doubt": in_doubt}


def ended_idle(journal: Journal, view: JobView, state: JobState, message: str, now_unix_s: float) -> JobView:
    """A job that ends while nobody works on it, with what the journal has of it."""
    outcomes = journal.outcomes(JobId(view.id))
    done = sum(outcomes.values())
    return msgspec.structs.replace(
        view,
        state=state,
        message=message,
        items_done=done,
        items_failed=len(outcomes) - done,
        doubtful=len(journal.doubtful(JobId(view.id))),
        ended_at_unix_s=now_unix_s,
    )
