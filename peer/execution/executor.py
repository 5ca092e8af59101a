"""`SandboxedExecutor`: runs chunks of strangers on this machine, in the strongest sandbox that works, or not at all."""

import platform
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from peer.execution.environment import python_environment
from peer.execution.launch import SandboxLauncher
from peer.execution.limits import LOAD_TIMEOUT_S
from peer.execution.python_runtime import PYTHON_RUNTIME, PythonRunner
from peer.execution.tiers import in_words, try_tiers
from peer.owner_settings import SANDBOX_AUTO
from peer.seam import BlobFiles, Runner
from protocol.bodies import Manifest
from protocol.capability import RuntimeOffer
from protocol.errors import LocalError


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
        load_timeout_s: float = LOAD_TIMEOUT_S,
        sandbox: str = SANDBOX_AUTO,
        launcher: SandboxLauncher | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._load_timeout_s = load_timeout_s
        self.blobs: BlobFiles | None = None
        """Set once the peer has any."""
        self._launcher = launcher
        self._report = SandboxReport(True, f"{launcher.name} works") if launcher else None
        self._environment: bytes | None = None

    def sandbox_report(self) -> SandboxReport:
        """What the trial gave. Takes about 50 ms the first time, at most `START_TIMEOUT_S` on a broken machine."""
        if self._report is None:
            self._report = self._try_sandbox()
        return self._report

    def offers(self) -> Sequence[RuntimeOffer]:
        """Python, when the sandbox works; else nothing (`sandbox_report` says why)."""
        if not self.sandbox_report().works or self._launcher is None:
            return ()
        return (RuntimeOffer(name=PYTHON_RUNTIME, version=platform.python_version(), sandbox=self._launcher.name),)

    def environment(self, runtime: str) -> bytes:
        """See `Executor.environment`; raises `LocalError` for a runtime that is not offered."""
        launcher = self.launcher_for(runtime)
        if self._environment is None:
            self._environment = python_environment(launcher.interpreter.package_folders)
        return self._environment

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        return self._open_runner(manifest)

    @asynccontextmanager
    async def _open_runner(self, manifest: Manifest) -> AsyncIterator[Runner]:
        launcher = self.launcher_for(manifest.runtime)
        async with self.files_of(manifest) as files:
            runner = PythonRunner(launcher, manifest, self._load_timeout_s, files)
            runner.start()
            try:
                yield runner
            finally:
                await runner.aclose()

    def files_of(self, manifest: Manifest) -> AbstractAsyncContextManager[Mapping[str, Path]]:
        """The blobs that the job reads, kept while it may; raises `LocalError`."""
        if not manifest.blobs:
            return nullcontext({})
        if self.blobs is None:
            raise LocalError("the job reads blobs, which only a running peer can fetch: start one with `peer start`")
        return self.blobs.open(manifest)

    def launcher_for(self, runtime: str) -> SandboxLauncher:
        """What starts runners of that runtime; raises `LocalError` when it is not offered here."""
        report = self.sandbox_report()
        if not report.works or self._launcher is None:
            raise LocalError(f"this peer runs nobody's code: {report.text}")
        if runtime != PYTHON_RUNTIME:
            raise LocalError(f"the runtime {runtime!r} is not offered here; offered: {PYTHON_RUNTIME}")
        return self._launcher

    def _try_sandbox(self) -> SandboxReport:
        trials = []
        for trial in try_tiers(self._sandbox):
            trials.append(trial)
            if trial.launcher is not None:
                self._launcher = trial.launcher
                break
        return SandboxReport(self._launcher is not None, in_words(trials))
