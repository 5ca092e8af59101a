"""Many whole peers in one process, over the real libp2p host: `light_workers.py NUMBER BOOTSTRAP ITEM_S`.

DHT, directory and worker are as they are shipped; only the executor is not: a chunk takes its time asleep and its code
runs here, without a sandbox, since hundreds of sandboxes do not fit a small machine. Ends with its input.
"""

import os
import random
import sys
import time

import trio

from peer.addresses import parse_bootstrap
from peer.core import NodeSettings, PeerCore
from peer.libp2p_host import open_libp2p_host
from peer.seam import Seam
from protocol.signing import Identity
from protocol.worker_policy import WorkerPolicy
from simulations.local_executor import LocalExecutor

LISTEN = "/ip4/127.0.0.1/tcp/0"
START_INTERVAL_S = 0.2
"""One after the other: to join costs a lookup."""


async def one_peer(bootstrap: str, item_s: float) -> None:
    """Until cancelled."""
    entropy = random.SystemRandom()
    identity = Identity(entropy.randbytes(32))
    async with open_libp2p_host(identity, [LISTEN]) as host:
        seam = Seam(identity, host, time.time, entropy, LocalExecutor(lambda _: item_s), None)
        settings = NodeSettings(policy=WorkerPolicy(slots=1), bootstrap=[parse_bootstrap(bootstrap)])
        await PeerCore(seam, settings, tell=lambda event: None).run()


async def main(number: int, bootstrap: str, item_s: float) -> None:
    """All of them, until the input ends."""
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(one_peer, bootstrap, item_s)
            await trio.sleep(START_INTERVAL_S)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        os._exit(0)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
