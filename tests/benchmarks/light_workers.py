"""Many workers in one process, over the real libp2p host: `light_workers.py NUMBER ITEM_S`.

Host and worker are as they are shipped. Left out: the sandbox (a chunk takes its time asleep, its code runs here) and
the DHT (two hundred peers that join at once keep a small machine busy for minutes). Prints id and address of each
worker as JSON lines; ends with its input.
"""

import json
import os
import random
import sys
import time

import trio

from peer.libp2p_host import open_libp2p_host
from peer.seam import Seam
from peer.worker import Worker
from protocol.signing import Identity
from protocol.worker_policy import WorkerPolicy
from simulations.local_executor import LocalExecutor

LISTEN = "/ip4/127.0.0.1/tcp/0"


async def one_worker(item_s: float) -> None:
    """Until cancelled."""
    entropy = random.SystemRandom()
    identity = Identity(entropy.randbytes(32))
    async with open_libp2p_host(identity, [LISTEN]) as host:
        seam = Seam(identity, host, time.time, entropy, LocalExecutor(lambda _: item_s), None)
        print(json.dumps({"peer": identity.peer_id, "addresses": list(host.addresses())}), flush=True)
        await Worker(seam, WorkerPolicy(slots=1)).run()


async def main(number: int, item_s: float) -> None:
    """All of them, until the input ends."""
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(one_worker, item_s)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        os._exit(0)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), float(sys.argv[2]))
