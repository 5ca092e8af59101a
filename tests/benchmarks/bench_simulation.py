"""How large a network one process simulates: wall time, events per second and memory per peer.

Targets: `ten_thousand` in under 15 minutes and 60 KiB a peer, `thousand` in under a minute. Each runs in a process of
its own, so that memory is its own. `dht:N` is a network of N peers with the DHT alone.
Usage: bench_simulation.py [thousand | ten_thousand | any scenario | dht:N] ...
"""

import sys
import time
from multiprocessing import get_context

from protocol.errors import LocalError
from simulations.growth import Growth
from simulations.run import run
from simulations.scenarios import find

SEED = 7
DEFAULT = ("thousand", "dht:10000", "ten_thousand")
JOINS_PER_S = 83.0
"""As in `ten_thousand`: all in two minutes of virtual time."""


def measure(what: str) -> str:
    """One line of the table."""
    kind, _, number = what.partition(":")
    return _dht(int(number)) if kind == "dht" else _scenario(what)


def _scenario(name: str) -> str:
    result = run(find(name), SEED)
    figures = result.figures
    ended = f"{figures['items_done']:,.0f} items done, {figures['wrong_accepted']:.0f} wrong"
    caught = f"{figures['liars_caught']:.0f} liars and {figures['honest_caught']:.0f} honest peers caught"
    speed = f"{result.wall_s:7.0f} s {result.events:11,} events {result.events / result.wall_s:7,.0f}/s"
    memory = f"{figures['kib_per_peer']:5.0f} KiB/peer"
    return f"{speed} {memory}  {ended}, {caught}, {len(result.violations)} violations, {result.trace_hash[:16]}"


def _dht(peers: int) -> str:
    started_at = time.perf_counter()
    grown = Growth(peers, SEED, peers / JOINS_PER_S).run()
    wall_s = time.perf_counter() - started_at
    speed = f"{wall_s:7.0f} s {grown.messages:11,} events {grown.messages / wall_s:7,.0f}/s"
    found = f"lookups find {grown.found_share:.2%} of the closest in {grown.lookup_s:.2f} s"
    return f"{speed} {grown.kib_per_peer:5.0f} KiB/peer  {found}, {grown.trace_hash[:16]}"


def _check(what: str) -> None:
    kind, _, number = what.partition(":")
    if kind == "dht" and not (number.isdecimal() and int(number) > 1):
        sys.exit(f"{what}: write dht:N, with N peers, at least 2")
    try:
        if kind != "dht":
            find(what)
    except LocalError as error:
        sys.exit(str(error))


def main() -> None:
    """Print a line for each."""
    names = sys.argv[1:] or DEFAULT
    for what in names:
        _check(what)
    for what in names:
        with get_context("spawn").Pool(1) as pool:
            print(f"{what:14s} {pool.apply(measure, (what,))}", flush=True)


if __name__ == "__main__":
    main()
