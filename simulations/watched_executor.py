"""An executor that tells the book which items a peer begins to execute."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from peer.execution import runner_data
from peer.executor_around import ExecutorAround
from peer.seam import Execution, ExecutionFailure, Executor, Runner
from protocol.bodies import Manifest
from simulations.book import Book


class WatchedExecutor(ExecutorAround):
    """Whatever the executor inside does with a chunk, it was given it."""

    def __init__(self, inside: Executor, number: int, book: Book) -> None:
        super().__init__(inside)
        self._number = number
        self._book = book

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        return self._open_runner(manifest)

    @asynccontextmanager
    async def _open_runner(self, manifest: Manifest) -> AsyncIterator[Runner]:
        async with self._inside.open_runner(manifest) as runner:
            yield _WatchedRunner(runner, self._number, manifest.job, self._book)


@dataclass(frozen=True, slots=True)
class _WatchedRunner:
    inside: Runner
    number: int
    job: str
    book: Book

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        self.book.on_execution(self.number, self.job, runner_data.decode_items(payload))
        return await self.inside.run(payload)
