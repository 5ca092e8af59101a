"""What a fault costs a job: a worker that is killed, one that is stopped, one that is ten times slower.

The same calls, which sleep, on three workers of one slot: here, under Dask distributed and under Ray, each in its own
network for each fault. The makespan is held against the ideal: the work divided by the workers that are left, from
the moment of the fault. Ours is the whole job, with its auction, the start of its sandboxes and its payment; the
others are warm. Target: at most 1.15 of the ideal with one worker ten times slower.
Usage: bench_faults.py [ITEMS] [ours|dask|ray|no-fault|killed|stopped|slow]...
"""

import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

import fault_rivals
import ours
import trio
from fault_rivals import SLOW_FACTOR, WORKERS, Arm, Network, NotDoneInTimeError

from peer.coordinator import Coordinator
from peer.views import JobState

ITEMS = int(sys.argv[1]) if len(sys.argv) > 1 else 120
ITEM_S = 0.5
FAULT_AFTER_S = 5.0
LIMIT_S = 150.0
CODE = "import time\ndef run(item):\n    time.sleep(item)\n    return item\n"
FAULTS: dict[str, int | None] = {"no-fault": None, "killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "slow": None}


class System(Protocol):
    """Brings one system up, with one worker slow or none."""

    def __call__(self, *, slow: bool) -> AbstractContextManager[Network]:
        """Its network, while the context lasts."""


def ideal_s(fault: str) -> float:
    """The least that the job can take; what is under way with the worker at its fault is lost."""
    work_s = ITEMS * ITEM_S
    if fault == "slow":
        return work_s / (WORKERS - 1 + 1 / SLOW_FACTOR)
    if fault == "no-fault":
        return work_s / WORKERS
    return FAULT_AFTER_S + (work_s - FAULT_AFTER_S * WORKERS) / (WORKERS - 1)


@contextmanager
def parallel_peer(*, slow: bool) -> Iterator[Network]:
    """Ours; trio runs in the thread that asks."""
    yield Network(lambda items, limit_s, arm: trio.run(_run_job, items, limit_s, arm, slow))


async def _run_job(items: list[float], limit_s: float, arm: Arm, slow: bool) -> float:
    pids: list[int] = []

    def options_of(number: int) -> list[str]:
        return ["--fault", f"slow:{SLOW_FACTOR}"] if slow and number == WORKERS - 1 else []

    async with ours.open_network(WORKERS, options_of, pids) as coordinator:
        # The group, since its sandboxes are processes of their own; the first worker is whom the others know.
        arm([-pids[-1]])
        started = time.perf_counter()
        with trio.move_on_after(limit_s):
            await _end_of_job(coordinator, items)
            return time.perf_counter() - started
    raise NotDoneInTimeError


async def _end_of_job(coordinator: Coordinator, items: list[float]) -> None:
    job = coordinator.submit(ours.request("none", CODE, list(items)))
    version = 0
    while not (view := coordinator.view(job)).state.is_final:
        version = await coordinator.wait_change(job, version)
    assert view.state is JobState.DONE and view.items_done == len(items), view.message


def measure(open_system: System, fault: str) -> float | None:
    """The makespan under this fault; None where it was not done in time."""
    timers: list[threading.Timer] = []
    victims: list[int] = []

    def strike(number: int) -> None:
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def arm(pids: list[int]) -> None:
        victims.extend(pids)
        if (number := FAULTS[fault]) is not None:
            timers.append(threading.Timer(FAULT_AFTER_S, strike, [number]))
            timers[-1].start()

    try:
        with open_system(slow=fault == "slow") as network:
            try:
                return network.run([ITEM_S] * ITEMS, LIMIT_S, arm)
            finally:
                for timer in timers:
                    timer.cancel()
                if FAULTS[fault] is not None:
                    strike(signal.SIGKILL)
    except NotDoneInTimeError:
        return None


def main() -> None:
    """Each system under each fault, and what the fault cost it."""
    systems = {"ours": parallel_peer, "dask": fault_rivals.dask, "ray": fault_rivals.ray}
    print(f"{ITEMS} calls of {ITEM_S} s on {WORKERS} workers, the fault {FAULT_AFTER_S:.0f} s after the start")
    words = set(sys.argv[2:])
    for name in [name for name in systems if name in words or not words & systems.keys()]:
        package = {"dask": "distributed", "ray": "ray"}.get(name)
        if package and importlib.util.find_spec(package) is None:
            print(f"{name}: left out, {package} is not installed here")
            continue
        usual_s = None
        for fault in [fault for fault in FAULTS if fault in words or not words & FAULTS.keys()]:
            took_s = measure(systems[name], fault)
            usual_s = took_s if fault == "no-fault" else usual_s
            print(_line(name, fault, took_s, usual_s), flush=True)


def _line(name: str, fault: str, took_s: float | None, usual_s: float | None) -> str:
    head = f"{name:5} {fault:9}"
    if took_s is None:
        return f"{head} not done after {LIMIT_S:.0f} s (ideal {ideal_s(fault):.1f} s)"
    lost = f", {took_s - usual_s:+.1f} s against no fault" if usual_s and fault != "no-fault" else ""
    return f"{head} {took_s:6.1f} s, {took_s / ideal_s(fault):.2f} of the ideal {ideal_s(fault):.1f} s{lost}"


if __name__ == "__main__":
    main()
