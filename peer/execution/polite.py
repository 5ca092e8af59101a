"""Runners that hold back: of low priority, and stopped for a part of the time.

The processor time of a runner is bounded by stopping and continuing all of its processes, since a user without
rights has no cgroup to set `cpu.max` on. It bounds the processor alone: neither memory bandwidth nor the disk, nor
what the peer itself does for the network. A job whose processes multiply may run on for a cycle with those just born.
"""

import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING

import trio

from peer.execution.executor import SandboxedExecutor
from peer.execution.launch import JobCode
from peer.execution.process import SandboxProcess
from peer.executor_around import ExecutorAround
from peer.seam import Runner
from protocol.bodies import Manifest

if TYPE_CHECKING:
    from trio_typing import TaskStatus

CYCLE_S = 0.1
"""Long against the time that it takes to stop a runner (a fraction of a millisecond), short against a chunk."""


class Throttle:
    """Lets processes run for a share of each cycle, all of them at once."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._processes: list[SandboxProcess] = []
        self._wake = trio.Event()

    def add(self, process: SandboxProcess) -> None:
        """Hold this one back until it has ended."""
        self._processes.append(process)
        self._wake.set()

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; whatever is stopped then goes on. Costs nothing while there is nothing to hold back."""
        task_status.started()
        while True:
            self._wake = trio.Event()
            if self._share >= 1 or not self._living():
                await self._wake.wait()
            await trio.sleep(self._share * CYCLE_S)
            with self._stopped():
                await trio.sleep((1 - self._share) * CYCLE_S)

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._living():
            process.signal_all(number)

    def _living(self) -> list[SandboxProcess]:
        self._processes = [one for one in self._processes if one.returncode is None]
        return self._processes


class PoliteExecutor(ExecutorAround):
    """The `Executor` for the work of others: what `executor` offers, within the owner's limits.

    `run` must run for `max_cpu` (the share of the time that a runner may compute) to have an effect.
    """

    def __init__(self, executor: SandboxedExecutor, *, niceness: int, max_cpu: float) -> None:
        super().__init__(executor)
        self._executor = executor
        self._niceness = niceness
        self._throttle = Throttle(max_cpu)
        self.run = self._throttle.run

    def open_runner(self, manifest: Manifest) -> AbstractAsyncContextManager[Runner]:
        """See `Executor.open_runner`."""
        launcher = self._executor.launcher()

        def start(job: JobCode) -> SandboxProcess:
            process = launcher.start(job, self._niceness)
            self._throttle.add(process)
            return process

        return self._executor.open_runner_by(start, manifest)
