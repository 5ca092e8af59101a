"""Versions of the views of jobs: whoever watches one waits for the next."""

import trio

from protocol.ids import JobId

CHANGE_INTERVAL_S = 0.1
"""Views are made at most so often for those who watch."""


class JobChanges:
    """One per coordinator; a job begins at version 1 when it is first watched or changes."""

    def __init__(self) -> None:
        self._versions: dict[JobId, int] = {}
        self._changed: dict[JobId, trio.Event] = {}

    def add(self, job: JobId) -> None:
        """A job that may change. Nothing happens to one that is known."""
        self._versions.setdefault(job, 1)
        self._changed.setdefault(job, trio.Event())

    def note(self, job: JobId) -> None:
        """There is something new about it; nothing happens where it is not known."""
        if job in self._versions:
            self._versions[job] += 1
            self._changed[job].set()
            self._changed[job] = trio.Event()

    async def wait(self, job: JobId, version: int) -> int:
        """Wait until the job is at a newer version than this; start with 0."""
        self.add(job)
        if self._versions[job] <= version:
            await self._changed[job].wait()
            await trio.sleep(CHANGE_INTERVAL_S)
        return self._versions[job]
