"""`SandboxedExecutor`: runs chunks of strangers on this machine, in bubblewrap, or not at all."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peer.execution.chunk_files import files_of_chunks
from peer.execution.launch import JobCode, Launcher
from peer.execution.limits import LOAD_TIMEOUT_S
from peer.execution.probe import try_sandbox
from peer.execution.process import SandboxProcess
from peer.execution.runner import SandboxRunner
from peer.execution.sandbox import SANDBOX_NAME
from peer.runtimes.base import Runtime
from peer.runtimes.registry import all_runtimes, named
from peer.seam import BlobFiles, Runner
from protocol.bodies import Manifest
from protocol.capability import RUNTIMES_PER_PEER_MAX, RuntimeOffer
from protocol.errors import LocalError

Start = Callable[[JobCode], SandboxProcess]


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """Whether this machine can keep strangers' code away from itself; if not, why and what helps."""

    works: bool
    text: str


class SandboxedExecutor:
    """The `Executor` of a real peer. Whether a sandbox works is tried once, when it is first asked for."""

    def __init__(self, runtimes: Sequence[Runtime] | None = None, *, load_timeout_s: float = LOAD_TIMEOUT_S) -> None:
        self._load_timeout_s = load_timeout_s
        self.runtimes = all_runtimes() if runtimes is None else list(runtimes)
        self.blobs: BlobFiles | None = None
        """Set once the peer has any."""
        self._launcher: Launcher | None = None
        self._report: SandboxReport | None = None

    def sandbox_report(self) -> SandboxReport:
        """What the trial gave. Takes about 50 ms the first time, at most `START_TIMEOUT_S` on a broken machine."""
        if self._report is None:
            self._report = self._try_sandbox()
        return self._report

    def offers(self) -> Sequence[RuntimeOffer]:
        """What the runtimes find on this machine, when the sandbox works; else nothing (`sandbox_report` says why)."""
        if not self.sandbox_report().works:
            return ()
        found = [pair for one in self.runtimes for pair in one.probe().versions.items()]
        offers = [RuntimeOffer(name=name, version=version, sandbox=SANDBOX_NAME) for name, version in found]
        return tuple(offers[:RUNTIMES_PER_PEER_MAX])

    def environment(self, runtime: str) -> bytes:
        """See `Executor.environment`; raises `LocalError` for a runtime that is not offered."""
        self.launcher()
        return self._offered(runtime).environment(runtime)

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        return self.open_runner_by(self.launcher().start, manifest)

    @asynccontextmanager
    async def open_runner_by(self, start: Start, manifest: Manifest) -> AsyncIterator[Runner]:
        """`open_runner` with processes that `start` starts."""
        inside = self._offered(manifest.runtime).inside(manifest)
        async with self.blobs_of(manifest) as blobs:
            with files_of_chunks(self.blobs, manifest) as files:
                job = JobCode.of(manifest, blobs, files.folder, inside)
                runner = SandboxRunner(partial(start, job), manifest, files, self._load_timeout_s)
                runner.start()
                try:
                    yield runner
                finally:
                    await runner.aclose()

    def blobs_of(self, manifest: Manifest) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """The blobs that the job reads, kept while it may; raises `LocalError`."""
        if not manifest.blobs:
            return nullcontext({})
        if self.blobs is None:
            raise LocalError("the job reads blobs, which only a running peer can fetch: start one with `peer start`")
        return self.blobs.open(manifest)

    def launcher(self) -> Launcher:
        """What starts runners; raises `LocalError` when this machine has no sandbox that works."""
        report = self.sandbox_report()
        if not report.works or self._launcher is None:
            raise LocalError(f"this peer runs nobody's code: {report.text}")
        return self._launcher

    def _offered(self, runtime: str) -> Runtime:
        found = named(self.runtimes, runtime)
        probe = found.probe()
        if runtime not in probe.versions:
            why = probe.problem or f"there is {', '.join(probe.versions)}"
            raise LocalError(f"the runtime {runtime!r} is not offered here: {why}")
        return found

    def _try_sandbox(self) -> SandboxReport:
        try:
            launcher = Launcher()
            try_sandbox(launcher)
        except LocalError as error:
            return SandboxReport(False, str(error))
        self._launcher = launcher
        return SandboxReport(True, f"{SANDBOX_NAME} works")
