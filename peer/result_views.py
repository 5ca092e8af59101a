"""The pictures in results, decoded for comparing: strangers' files are opened in the sandbox alone.

Where a job compares by `render:DB`, the files of results go through the same runtime once more, which gives their
pixels.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from peer.job_items import array_head
from peer.seam import Execution, Executor, Runner
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import BadFrame, LocalError
from protocol.files import FileRef
from protocol.outcomes import decode_outcomes

DECODE_TIMEOUT_S = 60.0
"""For one file."""
DECODE_CODE = b'{"decode": true}'


@dataclass(frozen=True, slots=True)
class _Task:
    files: tuple[FileRef, ...]
    then: Callable[[bytes], None]


class ResultViews:
    """One slot that decodes, in the order in which results come. `run` until cancelled.

    At most the chunks that workers hold wait here, as in `ResultChecks`.
    """

    def __init__(self, executor: Executor, manifest: Manifest, on_error: Callable[[LocalError], None]) -> None:
        self._executor = executor
        self._manifest = msgspec.structs.replace(
            manifest, code=DECODE_CODE, blobs=(), item_timeout_s=DECODE_TIMEOUT_S, cores=1
        )
        self._on_error = on_error
        self._waiting: deque[_Task] = deque()
        self._wake = trio.Event()

    def add(self, files: tuple[FileRef, ...], then: Callable[[bytes], None]) -> None:
        """Call `then` with the view of these (`protocol/pictures.py`), empty when one is no picture."""
        self._waiting.append(_Task(files, then))
        self._wake.set()

    async def run(self) -> None:
        """The slot; a sandbox that cannot be started goes to `on_error`."""
        await self._wake.wait()
        try:
            async with self._executor.open_runner(self._manifest) as runner:
                while True:
                    while self._waiting:
                        task = self._waiting.popleft()
                        task.then(await _view(runner, task.files))
                    self._wake = trio.Event()
                    await self._wake.wait()
        except LocalError as error:
            self._on_error(error)


async def _view(runner: Runner, files: tuple[FileRef, ...]) -> bytes:
    pictures: list[object] = []
    for file in files:
        ran = await runner.run(array_head(1) + encoding.encode(file.plain()))
        try:
            [outcome] = decode_outcomes(ran.data, 1) if isinstance(ran, Execution) else [None]
        except BadFrame:
            outcome = None
        if outcome is None or not outcome.ok:
            return b""
        pictures.append(outcome.value)
    return encoding.encode(pictures)
