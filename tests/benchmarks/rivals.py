"""Dask distributed and Ray, each with two worker processes of one thread, doing the same trivial calls.

Both are asked in the way their documentation recommends for many small calls: `client.map` and `gather`, and a
list of `.remote()` calls and one `ray.get`. Neither signs, checks or isolates anything.
"""

import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WORKERS = 2


def double(item: int) -> int:
    """The trivial call."""
    return item * 2


@dataclass(frozen=True)
class Rival:
    """What a system can do here: run all items and wait for the results; run one item."""

    name: str
    map: Callable[[range], list[int]]
    call: Callable[[int], int]


@contextmanager
def dask() -> Iterator[Rival]:
    """Dask distributed."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def run_all(items: range) -> list[int]:
            return list(client.gather(client.map(double, items, pure=False)))

        yield Rival("Dask distributed", run_all, lambda item: client.submit(double, item, pure=False).result())


@contextmanager
def ray() -> Iterator[Rival]:
    """Ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ray.init(
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    try:
        remote = ray.remote(double)
        yield Rival(
            "Ray",
            lambda items: ray.get([remote.remote(item) for item in items]),
            lambda item: ray.get(remote.remote(item)),
        )
    finally:
        ray.shutdown()


def calls_per_s(rival: Rival, calls: int, repeats: int) -> float:
    """The median of some repetitions, warm."""
    rival.map(range(calls // 10))
    rates = []
    for _ in range(repeats):
        started = time.perf_counter()
        assert rival.map(range(calls)) == [double(item) for item in range(calls)]
        rates.append(calls / (time.perf_counter() - started))
    return statistics.median(rates)


def latency_ms(rival: Rival, calls: int) -> float:
    """The median of single calls, one after the other, warm."""
    took = []
    for item in range(calls):
        started = time.perf_counter()
        assert rival.call(item) == double(item)
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000
