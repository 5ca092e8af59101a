"""Many whole peers in one process, over the real libp2p host: `joining_peers.py NUMBER [BOOTSTRAP]`.

Host, DHT, directory and worker are as they are shipped; no chunk comes. All start at once and join through BOOTSTRAP
(a multiaddr with a peer id), or through the first of them, whose multiaddr is printed. Every ten seconds a JSON line
tells what they know and what failed. Ends with its input.
"""

import json
import os
import random
import sys
import time
from collections import Counter

import trio

from peer.addresses import parse_bootstrap
from peer.core import NodeSettings, PeerCore
from peer.libp2p_host import open_libp2p_host
from peer.seam import Seam
from protocol.signing import Identity
from protocol.worker_policy import WorkerPolicy
from simulations.local_executor import LocalExecutor

LISTEN = "/ip4/127.0.0.1/tcp/0"
REPORT_INTERVAL_S = 10.0
LAG_PROBE_S = 0.1
WANTED = 1000


class Crowd:
    """The peers of this process."""

    def __init__(self) -> None:
        self.cores: list[PeerCore] = []
        self.lag_s_max = 0.0
        self.started_at = time.monotonic()

    async def one(self, bootstrap: str | None, *, task_status=trio.TASK_STATUS_IGNORED) -> None:  # type: ignore[no-untyped-def]
        """One peer, until cancelled."""
        entropy = random.SystemRandom()
        identity = Identity(entropy.randbytes(32))
        async with open_libp2p_host(identity, [LISTEN]) as host:
            seam = Seam(identity, host, time.time, entropy, LocalExecutor(lambda _: 1.0), None)
            entries = [parse_bootstrap(bootstrap)] if bootstrap else []
            core = PeerCore(
                seam, NodeSettings(policy=WorkerPolicy(slots=1), bootstrap=entries), tell=lambda event: None
            )
            self.cores.append(core)
            task_status.started(f"{host.addresses()[0]}/p2p/{identity.peer_id}")
            await core.run()

    async def probe_lag(self) -> None:
        """How late the event loop is."""
        while True:
            due = trio.current_time() + LAG_PROBE_S
            await trio.sleep_until(due)
            self.lag_s_max = max(self.lag_s_max, trio.current_time() - due)

    async def report(self) -> None:
        """A line now and then."""
        while True:
            await trio.sleep(REPORT_INTERVAL_S)
            line = self.figures()
            line["found"] = len(await self.cores[0].directory.find("python", WANTED))
            print(json.dumps(line), flush=True)

    def figures(self) -> dict[str, object]:
        """What these peers know and what failed."""
        counters = [core.dht.counters for core in self.cores]
        contacts = sorted(core.dht.contact_count for core in self.cores)
        copies = sorted(
            sum(level.copies for levels in core.directory.placements.values() for level in levels)
            for core in self.cores
        )
        lag_s, self.lag_s_max = self.lag_s_max, 0.0
        return {
            "at_s": round(time.monotonic() - self.started_at),
            "contacts": [contacts[0], contacts[len(contacts) // 2], contacts[-1]],
            "unpublished": copies.count(0),
            "copies": [copies[0], copies[len(copies) // 2], copies[-1]],
            "lookups": sum(one.lookups for one in counters),
            "unavailable": sum(one.unavailable for one in counters),
            "sent": dict(sum((Counter(one.sent) for one in counters), Counter())),
            "remote_errors": dict(sum((Counter(one.remote_errors) for one in counters), Counter())),
            "lag_s": round(lag_s, 2),
            "connected": sum(len(core.seam.host.connected_peers()) for core in self.cores),
        }


async def main(number: int, bootstrap: str | None = None) -> None:
    """All of them, until the input ends."""
    crowd = Crowd()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.probe_lag)
        entry = await nursery.start(crowd.one, bootstrap)
        print(entry, flush=True)
        for _ in range(number - 1):
            nursery.start_soon(crowd.one, bootstrap or entry)
        nursery.start_soon(crowd.report)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        os._exit(0)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), *sys.argv[2:])
