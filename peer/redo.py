"""Past jobs whose results have come into doubt and are done again unasked: which are next, and why.

One at a time, the one that has waited longest first. Old jobs, and those that did not end well, are left to
`peer job retry`: their owner may not care any more.
"""

from collections import OrderedDict
from collections.abc import Sequence

import trio

from peer.views import JobState, JobView
from protocol.ids import JobId

REDO_WITHIN_S = 24 * 3600.0
"""How long ago a job may have ended that is done again unasked."""
REDO_WAITING_MAX = 64
REASONS_MAX = 16
"""Told of each job: one for each peer found lying."""


def is_due(view: JobView, now_unix_s: float) -> bool:
    """Whether doubtful results of this job are done again unasked."""
    ended_at_unix_s = view.ended_at_unix_s or view.submitted_at_unix_s + view.elapsed_s
    lately = now_unix_s - ended_at_unix_s <= REDO_WITHIN_S
    return bool(view.doubtful) and view.state is JobState.DONE and lately


class Redo:
    """A bounded queue; a job is in it once."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[JobId, list[str]] = OrderedDict()
        self._news = trio.Event()

    def add(self, job: JobId, reason: str) -> None:
        """Another reason to do results of this job again; nothing happens where too many jobs wait."""
        if job not in self._reasons and len(self._reasons) >= REDO_WAITING_MAX:
            return
        reasons = self._reasons.setdefault(job, [])
        if reason not in reasons and len(reasons) < REASONS_MAX:
            reasons.append(reason)
        self._news.set()

    async def wait_next(self) -> JobId:
        """The job that is next, once there is one; it stays until it is taken."""
        while not self._reasons:
            self._news = trio.Event()
            await self._news.wait()
        return next(iter(self._reasons))

    def take(self, job: JobId) -> Sequence[str]:
        """The reasons; the job waits no longer."""
        return self._reasons.pop(job)
