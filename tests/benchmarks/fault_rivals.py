"""Dask distributed and Ray with workers of one slot that can be killed or stopped, as machines of their own would be.

Each has three workers that nobody restarts: a Dask worker without its nanny, a Ray node with its raylet. Both keep
their default time-outs. A worker that is slow takes ten times as long for each call.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

WORKERS = 3
SLOW_FACTOR = 10
SLOW_VARIABLE = "BENCH_SLOW"
READY_S = 60.0


class NotDoneInTimeError(Exception):
    """The calls had not ended when the time was over."""


Arm = Callable[[list[int]], None]
"""Called as the calls begin, with the processes of one worker: ids, or a group as a negative number."""


@dataclass(frozen=True)
class Network:
    """A system with its workers up."""

    run: Callable[[list[float], float, Arm], float]
    """Calls of so many seconds each, within so many seconds; returns how many it took. Raises `NotDoneInTimeError`."""


def work(seconds: float) -> int:
    """One call; where it runs."""
    time.sleep(seconds * int(os.environ.get(SLOW_VARIABLE, "1")))
    return os.getpid()


@contextmanager
def dask(*, slow: bool) -> Iterator[Network]:
    """Dask distributed: a scheduler here, workers as processes without nannies."""
    from distributed import Client, LocalCluster, wait

    with (
        LocalCluster(n_workers=0, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        ExitStack() as stack,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        workers = []
        for number in range(WORKERS):
            factor = str(SLOW_FACTOR if slow and not number else 1)
            # Workers are sent the name of `work`, so this file must be found there.
            environment = {**os.environ, SLOW_VARIABLE: factor, "PYTHONPATH": str(Path(__file__).parent)}
            workers.append(
                stack.enter_context(
                    _started([*command, "--no-nanny", "--nthreads", "1", "--no-dashboard"], environment)
                )
            )
        client.wait_for_workers(WORKERS, timeout=READY_S)

        def run(items: list[float], limit_s: float, arm: Arm) -> float:
            arm([workers[0].pid])
            started = time.perf_counter()
            futures = client.map(work, items, pure=False)
            try:
                wait(futures, timeout=limit_s)
            except TimeoutError as error:
                raise NotDoneInTimeError from error
            client.gather(futures)
            return time.perf_counter() - started

        run([0.0] * WORKERS, READY_S, lambda _: None)
        yield Network(run)


@contextmanager
def _started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def ray(*, slow: bool) -> Iterator[Network]:
    """Ray: a head that runs nothing, and nodes of one CPU each."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = []
        for number in range(WORKERS):
            factor = SLOW_FACTOR if slow and not number else 1
            nodes.append(cluster.add_node(num_cpus=1, env_vars={SLOW_VARIABLE: str(factor)}))
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        remote = ray.remote(work)

        raylet = next(infos[0].process.pid for kind, infos in nodes[0].all_processes.items() if kind == "raylet")

        def run(items: list[float], limit_s: float, arm: Arm) -> float:
            arm([raylet, *_children(raylet)])
            started = time.perf_counter()
            try:
                ray.get([remote.remote(item) for item in items], timeout=limit_s)
            except ray.exceptions.GetTimeoutError as error:
                raise NotDoneInTimeError from error
            return time.perf_counter() - started

        run([0.2] * 4 * WORKERS, READY_S, lambda _: None)
        yield Network(run)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(one) for one in found]
