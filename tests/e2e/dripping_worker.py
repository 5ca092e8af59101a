"""A worker over the real libp2p host that goes by the book up to a point: `dripping_worker.py BOOTSTRAP POINT`.

From then on it sends a byte a second, for ever. POINT: `called`, `awarded` or `assigned`. It prints its peer id once
it is in the directory.
"""

import random
import sys
import time

import trio

from dht.directory import Directory
from dht.service import DhtService
from peer.addresses import parse_bootstrap
from peer.libp2p_host import open_libp2p_host
from protocol.capability import Capability, RuntimeOffer
from protocol.channel import MessageChannel
from protocol.errors import ParallelPeerError
from protocol.framing import frame
from protocol.ids import BidId
from protocol.messages import Message
from protocol.messages.dht import Contact
from protocol.messages.job import JOB_CODEC, Assign, Award, Bid, Call, Heartbeat, Ready
from protocol.network import JOB_PROTOCOL, Stream
from protocol.signing import Identity

OFFER = RuntimeOffer(name="python", version="3.11", sandbox="none (test)")


async def serve(stream: Stream, point: str) -> None:
    """One job's stream."""
    channel: MessageChannel[Message] = MessageChannel(stream, JOB_CODEC)
    try:
        call = await _next(channel, Call)
        if point != "called":
            await channel.send(
                Bid(call_id=call.call_id, bid=BidId("1"), price=0.1, slots=1, speed=9.0, ready_s=0.0, expires_s=9.0)
            )
            award = await _next(channel, Award)
            if point == "assigned":
                await channel.send(Ready(lease=award.lease, chunk_credit=8, environment=bytes(32)))
                await _next(channel, Assign)
        message = frame(JOB_CODEC.encode(Heartbeat(lease="a" * 32, running=tuple(range(200)))))
        while True:
            for byte in message:
                await stream.send(bytes([byte]))
                await trio.sleep(1)
    except ParallelPeerError:
        await stream.reset()


async def _next(channel: MessageChannel[Message], wanted: type) -> Message:
    while not isinstance(message := await channel.receive(), wanted):
        pass
    return message


async def main(bootstrap: str, point: str) -> None:
    """Until killed."""
    entropy = random.SystemRandom()
    identity = Identity(entropy.randbytes(32))
    async with open_libp2p_host(identity, ["/ip4/127.0.0.1/tcp/0"]) as host, trio.open_nursery() as nursery:
        host.serve(JOB_PROTOCOL, lambda stream: serve(stream, point))
        dht = DhtService(host, identity=identity, random=entropy, wall_clock=time.time)
        directory = Directory(dht, identity, random=entropy, wall_clock=time.time)
        await nursery.start(dht.run)
        peer, address = parse_bootstrap(bootstrap)
        await dht.bootstrap([Contact(peer=peer, addresses=(address,))])
        record = Capability(
            peer=identity.peer_id,
            sequence=1,
            expires_at_unix_s=time.time() + 300,
            addresses=tuple(host.addresses()),
            runtimes=(OFFER,),
            slots=1,
        )
        await directory.publish(record)
        print(identity.peer_id, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
