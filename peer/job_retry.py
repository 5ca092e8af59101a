"""A part of a past job that is run again: which items, where their results go, and the job as a whole meanwhile.

Results that stand are not touched. The others stay in the journal until there are new ones: a retry that comes to
nothing loses nothing.
"""

from collections.abc import Mapping, Sequence

import msgspec

from peer.job_sum import joined
from peer.journal import Journal
from peer.journal_sink import JournalSink
from peer.views import JobView, ResultLine
from protocol.ids import JobId


class Retry:
    """The `ResultSink` of the run; a place in the run stands for an item of the job."""

    def __init__(self, journal: Journal, before: JobView, *, only_doubtful: bool) -> None:
        job = JobId(before.id)
        outcomes = journal.outcomes(job)
        givers = journal.doubtful(job)
        wanted = sorted(givers) if only_doubtful else _not_standing(before.items, outcomes, givers)
        self.items: Sequence[int] = wanted
        """The items of the job that are run again, in order."""
        self._before = before
        self._sink = JournalSink(journal, job)
        self._old = {item: outcomes[item] for item in wanted if item in outcomes}
        self._reasons = _reasons(wanted, outcomes, givers)
        self._kept_done = sum(outcomes.values()) - sum(self._old.values())
        self._kept_failed = len(outcomes) - len(self._old) - self._kept_done
        self._doubtful = set(givers)
        self._suspects = set(givers.values())

    def in_words(self) -> str:
        """What is run again, and why."""
        return f"retry: {', '.join(f'{number} {what}' for what, number in self._reasons.items() if number)}"

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
            items_done=done,
            items_failed=failed,
            doubtful=len(self._doubtful),
            overhead=view.executions / (done + failed) if done + failed else 0.0,
        )


def _not_standing(items: int, outcomes: Mapping[int, bool], givers: Mapping[int, str]) -> list[int]:
    return [item for item in range(items) if not outcomes.get(item, False) or item in givers]


def _reasons(wanted: Sequence[int], outcomes: Mapping[int, bool], givers: Mapping[int, str]) -> dict[str, int]:
    in_doubt = sum(item in givers for item in wanted)
    missing = sum(item not in outcomes for item in wanted)
    return {"failed": len(wanted) - in_doubt - missing, "without a result": missing, "in doubt": in_doubt}
