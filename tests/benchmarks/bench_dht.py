"""Lookups in a network of 60 peers in one process over loopback: this DHT against py-libp2p's KadDHT.

    python tests/benchmarks/bench_dht.py [--peers 60] [--lookups 50] [--dead 20]

Each side runs in a process of its own, one after the other, since our host mends the library in place. One
peer looks up random ids, one after another. "Right" is the share of the true 20 closest living peers in the
results. A dead contact accepts requests and never answers. Its first lookups are those in which the dead
are found out; they are timed apart. The only file outside of the host's that imports libp2p: as the rival.
"""

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

import trio

SETTLE_S = 12.0
QUIET_SHARE = 0.25
JOIN_PAUSE_S = 0.5
"""A full mesh of 60 is 1,770 handshakes, all in this one process: they must not come at once."""
CLOSEST = 20


@dataclass
class Asked:
    """One side's network: a lookup, the count of its requests, the truth, and how to make peers dead."""

    look_up: Callable[[bytes], Awaitable[list[str]]]
    requests: Callable[[], int]
    true_closest: Callable[[bytes, set[str]], list[str]]
    kill: Callable[[int], set[str]]


async def never(*_: object) -> None:
    """How a dead peer answers."""
    await trio.sleep_forever()


async def become_quiet() -> None:
    """Until everybody has joined: the process takes less than a quarter of a core."""
    used_s = math.inf
    while used_s > QUIET_SHARE * SETTLE_S / 4:
        before = time.process_time()
        await trio.sleep(SETTLE_S / 4)
        used_s = time.process_time() - before


async def measure(asked: Asked, lookups: int, dead: set[str], random: Random) -> dict[str, float]:
    requests, right, wanted, started = asked.requests(), 0, 0, trio.current_time()
    for _ in range(lookups):
        target = random.randbytes(20)
        found = set(await asked.look_up(target))
        truth = asked.true_closest(target, dead)
        right, wanted = right + len(found & set(truth)), wanted + len(truth)
    elapsed_s = trio.current_time() - started
    return {
        "per_s": lookups / elapsed_s,
        "messages": 2 * (asked.requests() - requests) / lookups,
        "right": right / wanted,
        "mean_s": elapsed_s / lookups,
    }


async def run_side(opening: Callable[..., object], options: argparse.Namespace) -> None:
    random = Random(7)
    async with opening(options.peers) as asked:  # type: ignore[attr-defined]
        await become_quiet()
        results = {"all alive": await measure(asked, options.lookups, set(), random)}
        if options.dead:
            dead = asked.kill(options.dead)
            results["dead, first 3"] = await measure(asked, 3, dead, random)
            await trio.sleep(SETTLE_S)
            results["dead, next 3"] = await measure(asked, 3, dead, random)
        print(json.dumps(results), flush=True)
        os._exit(0)  # The rival takes its time to close sixty hosts.


@asynccontextmanager
async def open_ours(peers: int) -> AsyncIterator[Asked]:
    from dht.keys import distance
    from dht.service import DhtService
    from peer.libp2p_host import open_libp2p_host
    from peer.stream_requests import FrameStream, RequestServer
    from protocol.ids import node_id_of
    from protocol.messages.dht import Contact
    from protocol.signing import Identity

    async with AsyncExitStack() as stack:
        services: list[DhtService] = []
        for number in range(peers):
            identity = Identity((number + 1).to_bytes(32))
            host = await stack.enter_async_context(open_libp2p_host(identity, ["/ip4/127.0.0.1/tcp/0"]))
            services.append(DhtService(host, identity=identity, random=Random(number), wall_clock=time.time))
        nursery = await stack.enter_async_context(trio.open_nursery())
        for service in services:
            await nursery.start(service.run)
        first = Contact(peer=services[0].peer_id, addresses=tuple(services[0].host.addresses()))
        for service in services[1:]:
            assert await service.bootstrap([first]) == 1, service.bootstrap_report
            await trio.sleep(JOIN_PAUSE_S)
        asker = services[-1]

        def true_closest(target: bytes, dead: set[str]) -> list[str]:
            alive = [one.peer_id for one in services[:-1] if one.peer_id not in dead]
            return sorted(alive, key=lambda peer: distance(target, node_id_of(peer)))[:CLOSEST]  # type: ignore[arg-type]

        silent: set[str] = set()
        answer = RequestServer._send

        async def answer_unless_silent(server: RequestServer, frames: FrameStream, reply: bytes) -> None:
            if server._answerer.peer_id in silent:  # type: ignore[attr-defined]
                await trio.sleep_forever()
            await answer(server, frames, reply)

        stack.callback(setattr, RequestServer, "_send", answer)
        RequestServer._send = answer_unless_silent  # type: ignore[method-assign]

        def kill(count: int) -> set[str]:
            silent.update(service.peer_id for service in services[:count])
            return silent

        async def look_up(target: bytes) -> list[str]:
            return [contact.peer for contact in await asker.find_closest(target)]

        yield Asked(look_up, lambda: asker.counters.requests_sent, true_closest, kill)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_theirs(peers: int) -> AsyncIterator[Asked]:
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
    from libp2p.kad_dht.peer_routing import PeerRouting
    from libp2p.kad_dht.utils import sort_peer_ids_by_distance
    from libp2p.peer.peerinfo import PeerInfo
    from libp2p.tools.anyio_service import background_trio_service
    from multiaddr import Multiaddr

    protocol = "/ipfs/kad/1.0.0"
    sent = {"requests": 0}
    original = PeerRouting._query_peer_for_closest

    async def counted(self: PeerRouting, peer: object, target: bytes) -> object:
        sent["requests"] += self is asker.peer_routing
        return await original(self, peer, target)

    async with AsyncExitStack() as stack:
        hosts, dhts = [], []
        for number in range(peers):
            listen = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
            host = new_host(key_pair=create_new_key_pair((number + 1).to_bytes(32)))
            await stack.enter_async_context(host.run(listen_addrs=listen))
            hosts.append(host)
            # Without its limit per subnet, which would leave most of a network on one machine out.
            dhts.append(KadDHT(host, DHTMode.SERVER, max_peers_per_subnet=0))
            await stack.enter_async_context(background_trio_service(dhts[-1]))
        asker = dhts[-1]
        PeerRouting._query_peer_for_closest = counted
        first = PeerInfo(hosts[0].get_id(), hosts[0].get_addrs())
        for host, dht in zip(hosts[1:], dhts[1:], strict=True):
            await host.connect(
                PeerInfo(first.peer_id, [a.decapsulate("/p2p/" + str(first.peer_id)) for a in first.addrs])
            )
            await dht.add_peer(first.peer_id)
            await dht.peer_routing.find_closest_peers_network(host.get_id().to_bytes())
            await trio.sleep(JOIN_PAUSE_S)
        for dht in dhts:  # Once more, now that all are there.
            await dht.peer_routing.find_closest_peers_network(dht.local_peer_id.to_bytes())

        def true_closest(target: bytes, dead: set[str]) -> list[str]:
            alive = [host.get_id() for host in hosts[:-1] if str(host.get_id()) not in dead]
            return [str(peer) for peer in sort_peer_ids_by_distance(target, alive)[:CLOSEST]]

        def kill(count: int) -> set[str]:
            for host in hosts[:count]:
                host.set_stream_handler(protocol, never)
            return {str(host.get_id()) for host in hosts[:count]}

        async def look_up(target: bytes) -> list[str]:
            return [str(peer) for peer in await asker.peer_routing.find_closest_peers_network(target)]

        yield Asked(look_up, lambda: sent["requests"], true_closest, kill)


def report(ours: dict[str, dict[str, float]], theirs: dict[str, dict[str, float]]) -> None:
    print(f"{'':16}{'':14}{'ours':>12}{'KadDHT':>12}{'ours/theirs':>14}")
    rows = (("lookups/s", "per_s"), ("s per lookup", "mean_s"), ("messages", "messages"), ("right", "right"))
    for case in ours:
        for label, name in rows:
            one, other = ours[case][name], theirs.get(case, {}).get(name, float("nan"))
            print(f"{case:16}{label:14}{one:12.3f}{other:12.3f}{one / other if other else float('nan'):14.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=60)
    parser.add_argument("--lookups", type=int, default=50)
    parser.add_argument("--dead", type=int, default=20)
    parser.add_argument("--side", choices=["ours", "theirs"])
    options = parser.parse_args()
    if options.side:
        logging.basicConfig(level=logging.ERROR)
        trio.run(run_side, open_ours if options.side == "ours" else open_theirs, options)
    numbers = [f"--{name}={getattr(options, name)}" for name in ("peers", "lookups", "dead")]
    sides = {}
    for side in ("ours", "theirs"):
        command = [sys.executable, __file__, *numbers, "--side", side]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{side} failed:\n{done.stderr[-4000:]}")
        sides[side] = json.loads(done.stdout.splitlines()[-1])
    report(sides["ours"], sides["theirs"])


if __name__ == "__main__":
    main()
