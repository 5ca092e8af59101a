"""The files that results of one job name: here before a result counts, kept for as long as it does.

A worker gives its result with the names of blobs, which it keeps for others to fetch. They are fetched from it, or
from whoever has the same: who gave a result and then not its files has not given it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from protocol import encoding
from protocol.arrays import array_hook
from protocol.errors import LocalError, Unavailable
from protocol.files import FILE_MARK, FileRef, files_in
from protocol.ids import ChunkId, PeerId
from protocol.limits import KIB

FETCHES_AT_ONCE_MAX = 4
FETCH_S_MIN = 60.0
FETCH_BYTES_PER_S_MIN = 64 * KIB
"""Who gives a file more slowly than this, after the first minute, is given up."""


class Shelf(Protocol):
    """Where this peer keeps files."""

    async def fetch_file(self, file: FileRef, holder: PeerId) -> bool:
        """Have it here, to stay until it is released; whether it would not have stayed anyway.

        Raises `Unavailable`, or `LocalError` when it cannot be kept.
        """

    def hold_file(self, file: FileRef) -> bool:
        """The same for one that is here; raises `LocalError` when it is not."""

    def release_file(self, file: FileRef) -> None:
        """It may go when room is needed."""


@dataclass(frozen=True, slots=True)
class _Task:
    holder: PeerId
    files: tuple[FileRef, ...]
    then: Callable[[str], None]


class ResultFiles:
    """One per job. `run` until cancelled; `fail` ends the job for an error of ours."""

    def __init__(self, shelf: Shelf | None, fail: Callable[[LocalError], None]) -> None:
        self._shelf = shelf
        self._fail = fail
        self._waiting: deque[_Task] = deque()
        """At most the chunks that workers hold: each that waits here is one that its worker still counts as out."""
        self._wake = trio.Event()
        self._here: set[FileRef] = set()
        self._held: set[FileRef] = set()
        """Those of them that this job alone keeps here."""
        self._settled: dict[ChunkId, list[FileRef]] = {}

    def fetch(self, holder: PeerId, files: Iterable[FileRef], then: Callable[[str], None]) -> None:
        """Have these here, then call `then` with nothing, or with why they cannot be had."""
        self._waiting.append(_Task(holder, tuple(files), then))
        self._wake.set()

    def hold(self, data: bytes) -> None:
        """Those that a result of this machine names; raises `LocalError` when one is gone."""
        for file in _files_of(data):
            if self._shelf is not None and file not in self._here:
                self._note(file, self._shelf.hold_file(file))

    def _note(self, file: FileRef, newly_held: bool) -> None:
        self._here.add(file)
        if newly_held:
            self._held.add(file)

    def named_by(self, data: bytes) -> tuple[FileRef, ...]:
        """The files of a result that has been checked."""
        return tuple(_files_of(data))

    def settle(self, chunk: ChunkId, data: bytes) -> None:
        """A result counts, and its files stay."""
        if files := _files_of(data):
            self._settled[chunk] = files

    def revoke(self, chunk: ChunkId) -> None:
        """It no longer does."""
        self._settled.pop(chunk, None)

    def close(self) -> None:
        """The job has ended: what nothing that counts names may go."""
        wanted = {file.blob for files in self._settled.values() for file in files}
        for file in sorted(self._held, key=lambda one: one.blob):
            if self._shelf is not None and file.blob not in wanted:
                self._shelf.release_file(file)

    async def run(self) -> None:
        """Fetch, some at once."""
        async with trio.open_nursery() as nursery:
            for _ in range(FETCHES_AT_ONCE_MAX):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                if self._wake.is_set():
                    self._wake = trio.Event()
                await self._wake.wait()
            task = self._waiting.popleft()
            try:
                problem = await self._fetch_all(task)
            except LocalError as error:
                self._fail(error)
                return
            task.then(problem)

    async def _fetch_all(self, task: _Task) -> str:
        for file in task.files:
            if self._shelf is None:
                raise LocalError("a result has files, and this peer keeps none")
            if file in self._here:
                continue
            with trio.move_on_after(FETCH_S_MIN + file.size_bytes / FETCH_BYTES_PER_S_MIN) as scope:
                try:
                    self._note(file, await self._shelf.fetch_file(file, task.holder))
                except Unavailable as error:
                    return f"its file {file.name} cannot be fetched: {error}"
            if scope.cancelled_caught:
                return f"its file {file.name} does not come"
        return ""


def _files_of(data: bytes) -> list[FileRef]:
    """Of a result that has been checked."""
    return files_in(encoding.decode(data, array_hook)) if FILE_MARK in data else []
