"""`SandboxedExecutor`: runs chunks of strangers on this machine, in the strongest sandbox that works, or not at all."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peer.execution.chunk_files import files_of_chunks
from peer.execution.interpreter import Inside
from peer.execution.launch import JobCode, SandboxLauncher
from peer.execution.limits import LOAD_TIMEOUT_S
from peer.execution.process import SandboxProcess
from peer.execution.runner import SandboxRunner
from peer.execution.tiers import in_words, try_tiers
from peer.owner_settings import SANDBOX_AUTO
from peer.runtimes.base import Prepares, Runtime
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
    """The `Executor` of a real peer. Whether a sandbox works is tried once, when it is first asked for.

    `sandbox` is the owner's setting: `auto` or the name of one kind. A `launcher` that is given is used as it is.
    """

    def __init__(
        self,
        runtimes: Sequence[Runtime] | None = None,
        *,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        sandbox: str = SANDBOX_AUTO,
        launcher: SandboxLauncher | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._load_timeout_s = load_timeout_s
        self.runtimes = all_runtimes() if runtimes is None else list(runtimes)
        self.blobs: BlobFiles | None = None
        """Set once the peer has any."""
        self.prepared_in: Path | None = None
        """The folder for what runtimes make ready for jobs; set once the peer has one."""
        self._launcher = launcher
        self._report = SandboxReport(True, f"{launcher.name} works") if launcher else None

    def sandbox_report(self) -> SandboxReport:
        """What the trial gave. Takes about 50 ms the first time, at most `START_TIMEOUT_S` on a broken machine."""
        if self._report is None:
            self._report = self._try_sandbox()
        return self._report

    def offers(self) -> Sequence[RuntimeOffer]:
        """What the runtimes find on this machine, when the sandbox works; else nothing (`sandbox_report` says why)."""
        if not self.sandbox_report().works or (launcher := self._launcher) is None:
            return ()
        usable = filter(launcher.takes, self.runtimes)
        found = [pair for one in usable for pair in one.probe().versions.items()]
        offers = [RuntimeOffer(name=name, version=version, sandbox=launcher.name) for name, version in found]
        return tuple(offers[:RUNTIMES_PER_PEER_MAX])

    def environment(self, runtime: str) -> bytes:
        """See `Executor.environment`; raises `LocalError` for a runtime that is not offered."""
        return self._offered(runtime).environment(runtime)

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        return self.open_runner_by(self.launcher().start, manifest)

    @asynccontextmanager
    async def open_runner_by(self, start: Start, manifest: Manifest) -> AsyncIterator[Runner]:
        """`open_runner` with processes that `start` starts."""
        async with self._inside(manifest) as inside, self.blobs_of(manifest) as blobs:
            with files_of_chunks(self.blobs, manifest, shown=self.launcher().shows_files) as files:
                job = JobCode.of(manifest, blobs, files.folder, inside)
                runner = SandboxRunner(partial(start, job), manifest, files, self._load_timeout_s)
                runner.start()
                try:
                    yield runner
                finally:
                    await runner.aclose()

    def _inside(self, manifest: Manifest) -> AbstractAsyncContextManager[Inside]:
        runtime = self._offered(manifest.runtime)
        if isinstance(runtime, Prepares) and self.prepared_in is not None:
            return runtime.prepared(manifest, self.prepared_in / runtime.name)
        return nullcontext(runtime.inside(manifest))

    def blobs_of(self, manifest: Manifest) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """The blobs that the job reads, kept while it may; raises `LocalError`."""
        if not manifest.blobs:
            return nullcontext({})
        if self.blobs is None:
            raise LocalError("the job reads blobs, which only a running peer can fetch: start one with `peer start`")
        return self.blobs.open(manifest)

    def launcher(self) -> SandboxLauncher:
        """What starts runners; raises `LocalError` when this machine has no sandbox that works."""
        report = self.sandbox_report()
        if not report.works or self._launcher is None:
            raise LocalError(f"this peer runs nobody's code: {report.text}")
        return self._launcher

    def _offered(self, runtime: str) -> Runtime:
        found = named(self.runtimes, runtime)
        launcher = self.launcher()
        if not launcher.takes(found):
            raise LocalError(f"the runtime {runtime!r} is not offered here: it needs bubblewrap, not {launcher.name}")
        probe = found.probe()
        if runtime not in probe.versions:
            why = probe.problem or f"there is {', '.join(probe.versions)}"
            raise LocalError(f"the runtime {runtime!r} is not offered here: {why}")
        return found

    def _try_sandbox(self) -> SandboxReport:
        trials = []
        for trial in try_tiers(self._sandbox):
            trials.append(trial)
            if trial.launcher is not None:
                self._launcher = trial.launcher
                break
        return SandboxReport(self._launcher is not None, in_words(trials))
