"""What checking costs: 60 items on a fresh network of strangers and among paired peers, against one machine alone.

Items compute for a given time by the clock, so that sharing this machine's cores is not measured. Four workers of one
slot each and one slot of the submitter's machine; the makespan is the whole job, auction and payment included. Ideal is
five times as fast as alone.
Usage: bench_verification.py [ITEMS [SECONDS_PER_ITEM]]
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import ours
import trio
from bench_efficiency import BUSY

from peer.coordinator import Coordinator
from peer.views import JobRequest, JobState, JobView

ITEMS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
ITEM_S = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
WORKERS = 4


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    verify: str = "adaptive"
    paired: bool = False
    alone: bool = False


CASES = (
    Case("alone, one slot", alone=True),
    Case("strangers, none", "none"),
    Case("strangers, adaptive (default)"),
    Case("strangers, quorum:2", "quorum:2"),
    Case("paired, adaptive (default)", paired=True),
)


def request(case: Case) -> JobRequest:
    """The same work in each case."""
    asked = ours.request(case.verify, BUSY, [ITEM_S] * ITEMS)
    return msgspec.structs.replace(asked, local=1, workers_max=1 if case.alone else 64)


async def run_job(coordinator: Coordinator, asked: JobRequest) -> JobView:
    """The whole job, from its submission to its last receipt."""
    job = coordinator.submit(asked)
    version = 0
    while (view := coordinator.view(job)).state not in (JobState.DONE, JobState.FAILED):
        version = await coordinator.wait_change(job, version)
    assert view.state is JobState.DONE, view.message
    return view


async def measure(coordinator: Coordinator, peers: list[str], case: Case) -> tuple[float, JobView]:
    """Makespan and view; all peers are strangers, or all paired, and banned where the machine works alone."""
    for peer in peers:
        coordinator.trust.forget(peer)
        if case.paired:
            coordinator.trust.pair(peer)
        if case.alone:
            coordinator.trust.ban(peer, 3600.0, "this measurement is without others")
    began = time.perf_counter()
    view = await run_job(coordinator, request(case))
    return time.perf_counter() - began, view


async def main(show: Callable[[str], None] = print) -> None:
    """One line per case."""
    async with ours.open_network(WORKERS) as coordinator:
        warm = await run_job(coordinator, ours.request("none", BUSY, [0.1] * (4 * WORKERS)))
        peers = [one.peer for one in warm.workers if not one.local]
        show(f"{ITEMS} items of {ITEM_S:g} s, {len(peers)} workers and one slot of the submitter's machine")
        alone_s = 0.0
        for case in CASES:
            makespan_s, view = await measure(coordinator, peers, case)
            alone_s = alone_s or makespan_s
            bound = "-" if view.error_bound is None else f"{view.error_bound:.2%}"
            show(
                f"    {case.name:30} {makespan_s:6.1f} s  {alone_s / makespan_s:5.2f} times alone  "
                f"overhead {view.overhead:.2f}  {view.votes} votes, {view.audits} audits  wrong at most {bound}"
            )
            if view.plan:
                show(f"        plan: {view.plan}")
            if view.shortfall:
                show(f"        {view.shortfall}")


if __name__ == "__main__":
    trio.run(main)
