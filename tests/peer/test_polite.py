"""Runners that hold back: low priority, stopped for a part of the time; and that nothing stays stopped."""

import time
from pathlib import Path

import pytest
import trio
from execution_helpers import Execution, manifest, run_all, still_alive

from peer.execution import polite
from peer.execution.limits import KILL_TIMEOUT_S
from peer.execution.polite import PoliteExecutor, Throttle
from peer.execution.process import SandboxProcess
from peer.execution.process_tree import descendants
from protocol import encoding
from protocol.errors import LocalError

pytestmark = pytest.mark.xdist_group("alone")  # They measure shares of the processor.

BUSY = """
    import os, time
    def run(item):
        begun, used = time.monotonic(), time.process_time()
        while time.monotonic() - begun < item:
            pass
        return [time.process_time() - used, os.nice(0)]
"""
TWO_BUSY = """
    import os, time
    def spin(seconds):
        begun, used = time.monotonic(), time.process_time()
        while time.monotonic() - begun < seconds:
            pass
        return time.process_time() - used
    def run(item):
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, str(spin(item)).encode())
            os._exit(0)
        own = spin(item)
        os.waitpid(child, 0)
        return [own, float(os.read(reading, 64))]
"""


async def test_runners_have_the_priority_that_the_owner_says(sandbox):
    [[_, niceness]] = await run_all(PoliteExecutor(sandbox, niceness=7, max_cpu=1), BUSY, [0.01])
    assert niceness == 7
    [[_, own]] = await run_all(sandbox, BUSY, [0.01])
    assert own == 0


async def test_without_nice_it_is_said(sandbox, monkeypatch):
    monkeypatch.setattr(sandbox.launcher(), "_nice", None)
    with pytest.raises(LocalError, match="use --nice 0"):
        await run_all(PoliteExecutor(sandbox, niceness=7, max_cpu=1), BUSY, [0.01])


@pytest.mark.slow
@pytest.mark.parametrize("code", [BUSY, TWO_BUSY])
async def test_a_runner_and_what_it_starts_compute_a_share_of_the_time(code, sandbox):
    executor = PoliteExecutor(sandbox, niceness=0, max_cpu=0.3)
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        [used] = await run_all(executor, code, [2.0])
        nursery.cancel_scope.cancel()
    print(f"{used} s of 2 s")
    assert all(seconds < 0.45 * 2 for seconds in (used if code is TWO_BUSY else used[:1]))


def states(process: SandboxProcess) -> set[str]:
    """Of the processes inside but the first one: T is stopped."""
    inside = descendants(process._told_pid())[1:]
    texts = [Path(f"/proc/{pid}/stat").read_text() for pid in inside]
    return {text.rpartition(")")[2].split()[0] for text in texts}


async def until_stopped(process: SandboxProcess) -> None:
    with trio.fail_after(20):
        while process._told_pid() is None or states(process) != {"T"}:  # noqa: ASYNC110 - processes have no event
            await trio.sleep(0.01)


async def test_what_is_stopped_goes_on_when_holding_back_ends(sandbox, monkeypatch):
    monkeypatch.setattr(polite, "CYCLE_S", 3e3)
    executor = PoliteExecutor(sandbox, niceness=0, max_cpu=1e-4)
    async with executor.open_runner(manifest(BUSY)) as runner:
        async with trio.open_nursery() as nursery:
            await nursery.start(executor.run)
            await until_stopped(runner._process)  # type: ignore[attr-defined]
            nursery.cancel_scope.cancel()
        assert "T" not in states(runner._process)  # type: ignore[attr-defined]
        assert isinstance(await runner.run(encoding.encode([0.01])), Execution)


async def test_a_stopped_runner_is_ended_like_any_other(sandbox, monkeypatch):
    monkeypatch.setattr(polite, "CYCLE_S", 3e3)
    executor = PoliteExecutor(sandbox, niceness=0, max_cpu=1e-4)
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        begun = time.monotonic()
        async with executor.open_runner(manifest(BUSY)) as runner:
            process = runner._process  # type: ignore[attr-defined]
            await until_stopped(process)
            pids = [process.pid, *descendants(process._told_pid())]
        assert time.monotonic() - begun < KILL_TIMEOUT_S
        assert still_alive(pids) == []
        nursery.cancel_scope.cancel()


async def test_holding_nothing_back_costs_nothing(autojump_clock):
    throttle = Throttle(0.5)
    async with trio.open_nursery() as nursery:
        await nursery.start(throttle.run)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().seconds_to_next_deadline
        assert before == float("inf"), "it wakes though there is nothing to do"
        nursery.cancel_scope.cancel()
