"""Everything that a peer takes from outside, in one object (DESIGN section 3).

It is built in `cli/` (real) and in `simulations/` (simulated). Monotonic time is trio's clock and is
not part of it; wall time serves signed expiry alone.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from protocol.bodies import Manifest
from protocol.capability import RuntimeOffer
from protocol.files import FileRef
from protocol.messages.job import FailureKind
from protocol.network import Host
from protocol.signing import Identity


@dataclass(frozen=True, slots=True)
class Execution:
    """A chunk that ran to its end: canonical CBOR of its outcomes (`protocol/outcomes.py`), time, output."""

    data: bytes
    compute_s: float
    log: bytes = b""


@dataclass(frozen=True, slots=True)
class ExecutionFailure:
    """A chunk that did not: why, and the place in the chunk of the item at fault."""

    kind: FailureKind
    item: int
    detail: str
    log: bytes = b""


class Runner(Protocol):
    """One warm slot of one job. Not shared between jobs; one chunk at a time."""

    async def run(self, payload: bytes) -> Execution | ExecutionFailure:
        """Run one chunk. `payload` is canonical CBOR of the list of items.

        Keeps the manifest's limits itself and starts the runner process again when it had to be
        killed. Cancelling kills the process that runs; the next call starts a fresh one. Raises
        `LocalError` only when no runner can be started at all.
        """


class BlobFiles(Protocol):
    """Where the blobs of jobs come from."""

    def open(self, manifest: Manifest) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """The manifest's blobs as read-only files by name, fetched first where need be; they stay within the context.

        Raises `LocalError` with the reason when one cannot be had or kept here.
        """

    def folder(self) -> AbstractContextManager[Path]:
        """A new empty folder for the files of chunks, removed in the end."""

    async def place(self, file: FileRef, manifest: Manifest, at: Path) -> None:
        """Put a file of an item there, read-only, fetched first where need be; raises `LocalError` with the reason."""

    async def keep(self, descriptor: int, size_bytes: int, name: str) -> FileRef:
        """Keep so many bytes of an open file, so that others can fetch them; raises `LocalError` with the reason."""


class Executor(Protocol):
    """Runs chunks on this machine, as safely as it can."""

    def offers(self) -> Sequence[RuntimeOffer]:
        """Which runtimes this machine can run, and in which sandbox. Empty when it can run none."""

    def environment(self, runtime: str) -> bytes:
        """Digest of what a result may depend on: interpreter, library versions, instruction set."""

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """A warm runner for one slot of a job; leaving the context ends its processes and files.

        Raises `LocalError` when the runtime is not offered.
        """


@dataclass(frozen=True, slots=True)
class Seam:
    """The outside world of one peer. `data_folder` is None where nothing may be kept."""

    identity: Identity
    host: Host
    wall_clock: Callable[[], float]
    random: Random
    executor: Executor
    data_folder: Path | None
