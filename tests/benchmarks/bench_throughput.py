"""Throughput and latency of trivial calls, against Dask distributed and Ray in the same run.

Targets: at least 5 times Dask's throughput and twice Ray's; a single call at most as slow as Dask's.
Usage: bench_throughput.py [CALLS] [REPEATS]
"""

import platform
import statistics
import sys
import time
from dataclasses import dataclass

import ours
import rivals
import trio

from peer.coordinator import Coordinator
from peer.session import Session, open_session

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
REPEATS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SINGLE_CALLS = 200
PAIRED = "adaptive, paired"
POLICIES = ("none", "audit:0.1", "quorum:2", "adaptive", PAIRED)
"""The default in the end, so that the workers have worked for none of it before."""


@dataclass(frozen=True)
class Measured:
    """One line of the table."""

    name: str
    calls_per_s: float
    latency_ms: float
    bytes_per_call: float | None = None
    executions_per_call: float | None = None


async def measure_ours(coordinator: Coordinator, policy: str) -> Measured:
    """A warm session of two workers with this verification policy."""
    for peer in [one.peer for one in coordinator.trust.trust()] if policy == PAIRED else ():
        coordinator.trust.pair(peer)
    async with open_session(coordinator, ours.request(policy.partition(",")[0])) as session:
        await _warm_up(session)
        before = session.view()
        rates = [await _calls_per_s(session) for _ in range(REPEATS)]
        after = session.view()
        latency_ms = await _latency_ms(session)
    wire_bytes = after.bytes_sent + after.bytes_received - before.bytes_sent - before.bytes_received
    done = CALLS * REPEATS
    executions = (after.executions - before.executions) / done
    return Measured(f"Parallel Peer, {policy}", statistics.median(rates), latency_ms, wire_bytes / done, executions)


async def _warm_up(session: Session) -> None:
    """Both workers at work, and the batches at their size."""
    while sum(worker.chunks_done > 0 for worker in session.view().workers) < ours.WORKERS:
        await session.map(range(200))
    await session.map(range(CALLS))


async def _calls_per_s(session: Session) -> float:
    started = time.perf_counter()
    lines = await session.map(range(CALLS))
    took_s = time.perf_counter() - started
    assert [line.result for line in lines] == [item * 2 for item in range(CALLS)]
    return CALLS / took_s


async def _latency_ms(session: Session) -> float:
    took = []
    for item in range(SINGLE_CALLS):
        started = time.perf_counter()
        assert (await session.call(item)).result == item * 2
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000


async def _all_of_ours() -> list[Measured]:
    async with ours.open_network() as coordinator:
        return [await measure_ours(coordinator, policy) for policy in POLICIES]


def measure_rivals() -> list[Measured]:
    """Dask and Ray, one after the other."""
    found = []
    for make in (rivals.dask, rivals.ray):
        with make() as rival:
            rate = rivals.calls_per_s(rival, CALLS, REPEATS)
            found.append(Measured(rival.name, rate, rivals.latency_ms(rival, SINGLE_CALLS)))
    return found


def show(rows: list[Measured], against: list[Measured]) -> None:
    """The table, with ratios to the rivals."""
    heads = "".join(f"{'x ' + rival.name.split()[0]:>8}" for rival in against)
    print(
        f"{CALLS} trivial calls, 2 workers, median of {REPEATS}; {platform.machine()}, Python {sys.version.split()[0]}"
    )
    print(f"{'':28}{'calls/s':>10}{heads}{'ms/call':>9}{'bytes/call':>12}{'runs/call':>11}")
    for row in [*against, *rows]:
        ratios = "".join(f"{row.calls_per_s / rival.calls_per_s:8.2f}" for rival in against)
        wire = "" if row.bytes_per_call is None else f"{row.bytes_per_call:12.1f}{row.executions_per_call:11.2f}"
        print(f"{row.name:28}{row.calls_per_s:10.0f}{ratios}{row.latency_ms:9.2f}{wire}")
    print("ms/call: median of 200 single calls, one after the other, on a warm session")


if __name__ == "__main__":
    show(trio.run(_all_of_ours), measure_rivals())
