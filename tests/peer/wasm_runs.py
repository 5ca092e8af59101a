"""What runs a module in the sandbox, for the tests of the wasm runtime."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path

import trio

from peer.execution.executor import SandboxedExecutor
from peer.runtimes.inside.wasm import MODULE_BLOB
from peer.runtimes.wasm import WASM_RUNTIME, WasmRuntime
from peer.seam import Execution, ExecutionFailure
from protocol import encoding
from protocol.bodies import JobBlob, Manifest
from protocol.files import FileRef
from protocol.ids import JobId, digest
from protocol.limits import MIB
from protocol.outcomes import Outcome, decode_outcomes


class Shelf:
    """Blobs of a job, as plain files; keeps what comes out by its name."""

    def __init__(self, folder: Path, blobs: Mapping[str, bytes]) -> None:
        self._folder = folder
        self.files: dict[str, bytes] = {}
        self.kept: dict[str, bytes] = {}
        self.paths = {name: folder / name for name in blobs}
        for name, path in self.paths.items():
            path.write_bytes(blobs[name])

    @asynccontextmanager
    async def open(self, manifest: Manifest) -> AsyncIterator[Mapping[str, Path]]:
        yield self.paths

    @contextmanager
    def folder(self):
        at = self._folder / "inputs"
        at.mkdir(exist_ok=True)
        yield at

    async def place(self, file: FileRef, manifest: Manifest, at: Path) -> None:
        await trio.Path(at).write_bytes(self.files[file.name])

    async def keep(self, descriptor: int, size_bytes: int, name: str) -> FileRef:
        data = self.kept[name] = os.read(descriptor, size_bytes)
        return self.file(name, data)

    def file(self, name: str, data: bytes) -> FileRef:
        self.files[name] = data
        return FileRef(name=name, blob=digest(data).hex(), size_bytes=len(data))


RunItems = Callable[..., Awaitable[Execution | ExecutionFailure]]


class Ran:
    """One runner of a job, and what its items gave."""

    def __init__(self, runner, shelf: Shelf) -> None:
        self._runner = runner
        self.shelf = shelf

    async def chunk(self, *items: object) -> Execution | ExecutionFailure:
        return await self._runner.run(encoding.encode(list(items)))

    async def outcome(self, item: object) -> Outcome:
        ran = await self.chunk(item)
        assert isinstance(ran, Execution), ran
        return decode_outcomes(ran.data, 1)[0]

    async def value(self, item: object) -> dict:
        outcome = await self.outcome(item)
        assert outcome.ok, outcome
        return outcome.value


@lru_cache(1)
def _executor() -> SandboxedExecutor:
    """One for all tests: it holds no processes, and its sandbox is tried once."""
    return SandboxedExecutor([WasmRuntime()])


@asynccontextmanager
async def running(
    folder: Path, code: str | bytes, *argv: str, fuel: int = 10**9, memory_bytes_max: int = 512 * MIB,
    item_timeout_s: float = 30.0, job: str = "j",
) -> AsyncIterator[Ran]:  # fmt: skip
    """A runner for a module, as text or as bytes."""
    executor = _executor()
    data = code if isinstance(code, bytes) else code.encode()
    shelf = Shelf(folder, {MODULE_BLOB: data})
    executor.blobs = shelf
    order = json.dumps({"name": "m.wasm", "argv": argv, "fuel": fuel}).encode()
    manifest = Manifest(
        job=JobId(job), runtime=WASM_RUNTIME, code=order, memory_bytes_max=memory_bytes_max,
        item_timeout_s=item_timeout_s, blobs=(JobBlob(name=MODULE_BLOB, blob=digest(data), size_bytes=len(data)),),
    )  # fmt: skip
    async with executor.open_runner(manifest) as runner:
        yield Ran(runner, shelf)
