"""What a sandbox costs: its start-up in each tier, and each warm chunk, against a plain process and a call.

    python tests/benchmarks/bench_sandbox.py [--starts 20] [--chunks 2000] [--python PATH] [--user UID]

A start is measured until the job is loaded and the first chunk of one trivial item is back; a warm chunk is one more of
those. The plain process is a Python child that gets items over a pipe, pickled, and runs the same function: no sandbox,
no limits, nothing checked. `--python` and `--user` are for root whose own Python is closed to other users: which
interpreter the second tier's runners take instead, and as which ordinary user.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import trio

from peer.execution.executor import SandboxedExecutor
from peer.execution.landlock_launch import LandlockLauncher
from peer.execution.launch import Launcher, SandboxLauncher
from peer.execution.probe import try_sandbox
from peer.runtimes.python import PythonRuntime
from peer.seam import Execution
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.ids import JobId

CODE = b"def run(item):\n    return item * 2\n"
WARM_UP = 50


def run(item: int) -> int:
    return item * 2


def the_function_itself(chunks: int) -> list[float]:
    return list(_times(chunks, lambda: run(1)))


def _times(count: int, once: Callable[[], object]) -> Iterator[float]:
    for _ in range(count):
        begun = time.perf_counter()
        once()
        yield time.perf_counter() - begun


def _serve(connection: Connection) -> None:
    while (item := connection.recv()) is not None:
        connection.send(run(item))


@contextmanager
def plain_process() -> Iterator[Callable[[], object]]:
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()

    def once() -> object:
        ours.send(1)
        return ours.recv()

    once()
    yield once
    ours.send(None)
    process.join()


def bare_python(starts: int) -> list[float]:
    return list(_times(starts, lambda: subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)))


async def tier(launcher: SandboxLauncher, starts: int, chunks: int) -> tuple[list[float], list[float]]:
    """Seconds of each start and of each warm chunk."""
    executor = SandboxedExecutor([PythonRuntime()], launcher=launcher)
    manifest = Manifest(job=JobId("bench"), runtime="python", code=CODE, name="bench.py")
    payload, started, warm = encoding.encode([1]), [], []
    for _ in range(starts):
        begun = time.perf_counter()
        async with executor.open_runner(manifest) as runner:
            assert isinstance(await runner.run(payload), Execution)
            started.append(time.perf_counter() - begun)
    async with executor.open_runner(manifest) as runner:
        for number in range(WARM_UP + chunks):
            begun = time.perf_counter()
            assert isinstance(await runner.run(payload), Execution)
            if number >= WARM_UP:
                warm.append(time.perf_counter() - begun)
    return started, warm


def row(name: str, started: list[float] | None, warm: list[float] | None) -> None:
    def spread(times: list[float] | None, unit: float) -> str:
        if not times:
            return f"{'-':>18}"
        low, middle, high = (one * unit for one in statistics.quantiles(times, n=10)[0:9:4])
        return f"{middle:7.2f} ({low:.2f}-{high:.2f})".rjust(18)

    print(f"{name:<24}{spread(started, 1e3)}{spread(warm, 1e6)}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--starts", type=int, default=20)
    options.add_argument("--chunks", type=int, default=2000)
    options.add_argument("--python", type=Path)
    options.add_argument("--user", type=int)
    given = options.parse_args()
    makers = {"bubblewrap": Launcher, "landlock": lambda: LandlockLauncher(python=given.python, user=given.user)}
    print("median (10 % to 90 %)        start-up, ms    warm chunk, us")
    row("the function itself", None, the_function_itself(given.chunks))
    row("bare python -I -S", bare_python(given.starts), None)
    with plain_process() as once:
        list(_times(WARM_UP, once))
        row("plain process", None, list(_times(given.chunks, once)))
    for name, make in makers.items():
        try:
            launcher = make()
            try_sandbox(launcher)
        except LocalError as error:
            print(f"{name}: not here: {error}")
            continue
        row(name, *trio.run(tier, launcher, given.starts, given.chunks))


if __name__ == "__main__":
    main()
