"""A warm session: workers stay leased, so that single calls take milliseconds.

For programs that run inside a peer (notebooks, tests, benchmarks); the command line submits whole jobs.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from peer.coordinator import Coordinator
from peer.job_runner import JobRunner
from peer.views import JobRequest, JobView, ResultLine
from protocol.errors import Unavailable


class _Waiting:
    """Lines by item for those who wait; taken once. A revoked result is simply replaced by its repetition."""

    def __init__(self) -> None:
        self._lines: dict[int, ResultLine] = {}
        self._events: dict[int, trio.Event] = {}
        self._closed = False

    def record(self, lines: Sequence[ResultLine]) -> None:
        for line in lines:
            self._lines[line.item] = line
            if (event := self._events.pop(line.item, None)) is not None:
                event.set()

    def confirm(self, items: Sequence[int]) -> None:
        """Those who wait are not told more than the result."""

    def remove(self, items: Sequence[int]) -> None:
        for item in items:
            self._lines.pop(item, None)

    async def wait(self, item: int) -> None:
        """Until there is a line for the item, or there will be none."""
        if item not in self._lines and not self._closed:
            await self._events.setdefault(item, trio.Event()).wait()

    def take(self, item: int) -> ResultLine | None:
        return self._lines.pop(item, None)

    def close(self) -> None:
        """No more lines come: the job has ended."""
        self._closed = True
        for event in self._events.values():
            event.set()
        self._events.clear()


class Session:
    """Calls of one function on leased workers, checked like any job's results.

    A result is given as soon as the verification policy accepts it. Under `audit:RATE` that may be
    before a lie of the same worker is caught elsewhere; a whole job revokes, a session cannot.
    """

    def __init__(self, runner: JobRunner, waiting: _Waiting) -> None:
        self._runner = runner
        self._waiting = waiting

    async def call(self, item: object) -> ResultLine:
        """Run the function on one item. Raises `LocalError` for a bad item, `Unavailable` when the job ended."""
        return (await self.map([item]))[0]

    async def map(self, items: Sequence[object]) -> list[ResultLine]:
        """Run the function on each item; lines in the order of the items."""
        lines: list[ResultLine] = []
        for number in self._runner.add_items(items):
            lines.append(await self._take(number))
        return lines

    async def _take(self, number: int) -> ResultLine:
        await self._waiting.wait(number)
        line = self._waiting.take(number)
        if line is None:
            raise Unavailable(f"the session has ended: {self._runner.view().message or 'closed'}")
        return line

    def view(self) -> JobView:
        """The job behind the session."""
        return self._runner.view()


@asynccontextmanager
async def open_session(coordinator: Coordinator, request: JobRequest) -> AsyncIterator[Session]:
    """Lease workers for `request.code`; its `items` are ignored. Leaving the context pays and releases them."""
    waiting = _Waiting()
    runner = coordinator.open_session(request, waiting, on_end=waiting.close)
    try:
        yield Session(runner, waiting)
        runner.close_items()
        await runner.wait_finished()
    finally:
        runner.cancel()
