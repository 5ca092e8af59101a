"""What the tests of execution share: job files as text, chunks as lists, outcomes as objects."""

import os
import select
from collections.abc import Iterable, Sequence
from textwrap import dedent

import trio

from peer.execution.executor import SandboxedExecutor
from peer.execution.landlock_launch import LandlockLauncher
from peer.seam import Execution, ExecutionFailure, Executor
from protocol import encoding
from protocol.bodies import Manifest
from protocol.limits import MIB
from protocol.outcomes import Outcome, decode_outcomes


def manifest(code: str, **fields: object) -> Manifest:
    """A python job; `code` may be indented."""
    known = {"job": "job-1", "runtime": "python", "name": "job_file.py", "item_timeout_s": 20.0, **fields}
    return Manifest(code=dedent(code).encode(), **known)


def outcomes(result: Execution | ExecutionFailure, count: int) -> list[Outcome]:
    """The outcomes of a chunk that must have been run to its end."""
    assert isinstance(result, Execution), result
    return decode_outcomes(result.data, count)


async def run_all(executor: Executor, code: str, items: Sequence[object] = (0,), **fields: object) -> list[object]:
    """Values of the items; every one of them must be right."""
    async with executor.open_runner(manifest(code, **fields)) as runner:
        found = outcomes(await runner.run(encoding.encode(list(items))), len(items))
    assert all(one.ok for one in found), found
    return [one.value for one in found]


async def run_one(executor: Executor, code: str, item: object = 0, **fields: object) -> Execution | ExecutionFailure:
    """The result of a chunk of one item."""
    async with executor.open_runner(manifest(code, **fields)) as runner:
        return await runner.run(encoding.encode([item]))


def still_alive(pids: Iterable[int], timeout_s: float = 5.0) -> list[int]:
    """Which of these processes do not end in time. One that nobody has waited for yet counts as ended."""
    return [pid for pid in pids if not _ends(pid, timeout_s)]


async def no_folder_is_left(executor: SandboxedExecutor) -> None:
    """Runners' folders of the second tier are removed by a program that nobody waits for; raises `TooSlowError`."""
    launcher = executor.launcher()
    assert isinstance(launcher, LandlockLauncher)
    place = trio.Path(launcher.place)
    with trio.fail_after(10):
        while sorted([one.name for one in await place.iterdir()]) != ["in-use", "program-0"]:  # noqa: ASYNC110
            await trio.sleep(0.02)  # what another program does to the disk is no event


def _ends(pid: int, timeout_s: float) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], timeout_s)[0])
    finally:
        os.close(fd)


__all__ = [
    "MIB",
    "Execution",
    "ExecutionFailure",
    "SandboxedExecutor",
    "manifest",
    "no_folder_is_left",
    "outcomes",
    "run_all",
    "run_one",
    "still_alive",
]
