"""Results of one job into the journal: of a whole job, or of a part of one that is run again."""

from collections.abc import Sequence

from peer.journal import Journal
from peer.views import ResultLine
from protocol.ids import JobId


class JournalSink:
    """Results of one job into the journal."""

    def __init__(self, journal: Journal, job: JobId) -> None:
        self._journal = journal
        self._job = job

    def record(self, lines: Sequence[ResultLine]) -> None:
        """Write them; they survive the process from here on."""
        self._journal.record_results(self._job, lines)

    def confirm(self, items: Sequence[int]) -> None:
        """They rest on more than their worker's word."""
        self._journal.confirm_results(self._job, items)

    def remove(self, items: Sequence[int]) -> None:
        """They no longer count."""
        self._journal.remove_results(self._job, items)
