"""How much of two workers' time goes into computing, with chunks of about one second; bytes per trivial chunk.

The job computes for a given time by the clock, so that only scheduling is measured and not how two cores are
shared with whatever else runs here. The makespan is the whole job: finding workers, auction, start of the
runners, computing, payment. Target: at least 0.95.
Usage: bench_efficiency.py [CHUNKS]
"""

import sys
import time

import ours
import trio

from peer.coordinator import Coordinator
from peer.session import open_session
from peer.views import JobState, JobView

CHUNKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
BUSY = """
import time

def run(item):
    end = time.monotonic() + item
    while time.monotonic() < end:
        pass
    return item
"""
TRIVIAL_CHUNKS = 200


async def run_job(coordinator: Coordinator, items: list[object]) -> JobView:
    """The whole job, from its submission to its last receipt."""
    job = coordinator.submit(ours.request("none", BUSY, items))
    version = 0
    while (view := coordinator.view(job)).state not in (JobState.DONE, JobState.FAILED):
        version = await coordinator.wait_change(job, version)
    assert view.state is JobState.DONE, view.message
    return view


async def measure_efficiency(coordinator: Coordinator) -> None:
    """One item is one chunk, since each takes a second."""
    started = time.perf_counter()
    view = await run_job(coordinator, [1.0] * CHUNKS)
    makespan_s = time.perf_counter() - started
    chunks = sum(worker.chunks_done for worker in view.workers)
    efficiency = view.compute_s / (ours.WORKERS * makespan_s)
    print(f"compute-bound: {CHUNKS} items of 1 s in {chunks} chunks on {ours.WORKERS} workers")
    print(f"    makespan {makespan_s:.2f} s, computing {view.compute_s:.2f} s, efficiency {efficiency:.3f}")


async def measure_bytes(coordinator: Coordinator) -> None:
    """Single calls: each is a chunk of one item, with its commitment; both directions together."""
    async with open_session(coordinator, ours.request("none")) as session:
        await session.map(range(200))
        before = session.view()
        for item in range(TRIVIAL_CHUNKS):
            await session.call(item)
        after = session.view()
    chunks = sum(worker.chunks_done for worker in after.workers) - sum(worker.chunks_done for worker in before.workers)
    sent, received = after.bytes_sent - before.bytes_sent, after.bytes_received - before.bytes_received
    print(f"on the wire per trivial chunk: {sent / chunks:.0f} bytes sent, {received / chunks:.0f} received")


async def main() -> None:
    """Both, on the same two workers."""
    async with ours.open_network() as coordinator:
        await measure_bytes(coordinator)
        await measure_efficiency(coordinator)


if __name__ == "__main__":
    trio.run(main)
