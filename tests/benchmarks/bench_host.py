"""Connections of our host against the library as it comes and against plain TCP, over loopback.

    python tests/benchmarks/bench_host.py [--megabytes 64] [--requests 1000]

Both ends live in one process and one thread, so that each figure is the work of two peers. "Library" is
py-libp2p's own host with Noise and Yamux; TCP is trio's, without any encryption.
"""

import argparse
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import trio

from protocol.network import Stream
from protocol.signing import Identity

ECHO = "/parallel-peer/echo/1"
SINK = "/parallel-peer/sink/1"
LISTEN = "/ip4/127.0.0.1/tcp/0"
FRESH_PEERS = 10
REQUEST_BYTES = 100
MEGABYTE = 1_000_000
READ_BYTES = 65536


@dataclass
class Pipe:
    """The opener's end of a stream."""

    send: Callable[[bytes], Awaitable[None]]
    receive: Callable[[int], Awaitable[bytes]]


Open = Callable[[str], Awaitable[Pipe]]
"""A stream to a fresh peer for the first call, on the same connection after it."""


@dataclass
class Measured:
    """One line of the table; times in milliseconds."""

    name: str
    fresh_ms: float
    stream_ms: float
    request_ms: float
    bulk_mb_per_s: float


async def echo(pipe: Pipe) -> None:
    while data := await pipe.receive(READ_BYTES):
        await pipe.send(data)


async def sink(pipe: Pipe) -> None:
    """Answers each whole megabyte with a byte."""
    received = 0
    while data := await pipe.receive(READ_BYTES):
        whole_before, received = received // MEGABYTE, received + len(data)
        if whole := received // MEGABYTE - whole_before:
            await pipe.send(b"." * whole)


@asynccontextmanager
async def ours() -> AsyncIterator[Open]:
    """Our host."""
    from peer.libp2p_host import open_libp2p_host

    def served(handler: Callable[[Pipe], Awaitable[None]]) -> Callable[[Stream], Awaitable[None]]:
        return lambda stream: handler(Pipe(stream.send, stream.receive))

    async with AsyncExitStack() as stack:
        hosts = [open_libp2p_host(Identity(bytes([number]) * 32), [LISTEN]) for number in (1, 2)]
        there, here = [await stack.enter_async_context(host) for host in hosts]
        there.serve(ECHO, served(echo))
        there.serve(SINK, served(sink))
        here.add_addresses(there.peer_id, there.addresses())

        async def open_stream(protocol: str) -> Pipe:
            stream = await here.open_stream(there.peer_id, protocol)
            return Pipe(stream.send, stream.receive)

        yield open_stream


@asynccontextmanager
async def library() -> AsyncIterator[Open]:
    """py-libp2p as it comes, but for its default of offering impersonation."""
    import libp2p
    from libp2p.peer.peerinfo import PeerInfo
    from multiaddr import Multiaddr

    def new_host() -> Any:
        keys = libp2p.create_new_ed25519_key_pair()
        noise = libp2p.NoiseTransport(keys, libp2p.create_new_x25519_key_pair().private_key)
        return libp2p.new_host(key_pair=keys, sec_opt={libp2p.NOISE_PROTOCOL_ID: noise})

    def served(handler: Callable[[Pipe], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        return lambda stream: handler(Pipe(stream.write, stream.read))

    there, here = new_host(), new_host()
    async with there.run([Multiaddr(LISTEN)]), here.run([Multiaddr(LISTEN)]):
        there.set_stream_handler(ECHO, served(echo))
        there.set_stream_handler(SINK, served(sink))

        async def open_stream(protocol: str) -> Pipe:
            await here.connect(PeerInfo(there.get_id(), there.get_transport_addrs()))
            stream = await here.new_stream(there.get_id(), [protocol])
            return Pipe(stream.write, stream.read)

        yield open_stream
        await here.close()
        await there.close()


@asynccontextmanager
async def plain_tcp() -> AsyncIterator[Open]:
    """One connection per stream, no encryption, no multiplexing."""
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        ports: dict[str, int] = {}
        for protocol, handler in ((ECHO, echo), (SINK, sink)):
            serve = _served_by(handler)
            listeners = await nursery.start(trio.serve_tcp, serve, 0)
            ports[protocol] = listeners[0].socket.getsockname()[1]

        async def open_stream(protocol: str) -> Pipe:
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", ports[protocol]))
            return Pipe(stream.send_all, stream.receive_some)

        yield open_stream
        nursery.cancel_scope.cancel()


def _served_by(handler: Callable[[Pipe], Awaitable[None]]) -> Callable[[trio.SocketStream], Awaitable[None]]:
    return lambda stream: handler(Pipe(stream.send_all, stream.receive_some))


async def measure(name: str, side: Callable[[], Any], megabytes: int, requests: int) -> Measured:
    fresh_s = 0.0
    for _ in range(FRESH_PEERS):
        async with side() as open_stream:
            fresh_s += await timed(lambda: open_stream(ECHO))
    async with side() as open_stream:
        pipe = await open_stream(ECHO)
        request_s = await timed(lambda: ask(pipe, requests))
        stream_s = await timed(lambda: open_many(open_stream))
        bulk_s = await timed(lambda: push(open_stream, megabytes))
    return Measured(
        name,
        fresh_ms=fresh_s / FRESH_PEERS * 1e3,
        stream_ms=stream_s / FRESH_PEERS * 1e3,
        request_ms=request_s / requests * 1e3,
        bulk_mb_per_s=megabytes / bulk_s,
    )


async def timed(action: Callable[[], Awaitable[object]]) -> float:
    started_at = time.perf_counter()
    await action()
    return time.perf_counter() - started_at


async def ask(pipe: Pipe, requests: int) -> None:
    for _ in range(requests):
        await pipe.send(bytes(REQUEST_BYTES))
        left = REQUEST_BYTES
        while left:
            left -= len(await pipe.receive(left))


async def open_many(open_stream: Open) -> None:
    for _ in range(FRESH_PEERS):
        await open_stream(ECHO)


async def push(open_stream: Open, megabytes: int) -> None:
    pipe = await open_stream(SINK)

    async def send() -> None:
        for _ in range(megabytes):
            await pipe.send(bytes(MEGABYTE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        left = megabytes
        while left:
            left -= len(await pipe.receive(left))


def show(rows: list[Measured]) -> None:
    print(f"{'':12}{'fresh peer':>14}{'next stream':>14}{'request':>12}{'bulk':>14}")
    for row in rows:
        times = f"{row.fresh_ms:11.2f} ms{row.stream_ms:11.2f} ms{row.request_ms:9.3f} ms"
        print(f"{row.name:12}{times}{row.bulk_mb_per_s:9.0f} MB/s")
    ours_row = rows[0]
    for other in rows[1:]:
        ratios = (
            other.fresh_ms / ours_row.fresh_ms,
            other.stream_ms / ours_row.stream_ms,
            other.request_ms / ours_row.request_ms,
            ours_row.bulk_mb_per_s / other.bulk_mb_per_s,
        )
        fresh, stream, request, bulk = (f"x {ratio:.2f}" for ratio in ratios)
        print(f"ours against {other.name}: fresh {fresh}, stream {stream}, request {request}, bulk {bulk}")


async def main(megabytes: int, requests: int) -> None:
    sides = [("ours", ours), ("library", library), ("plain TCP", plain_tcp)]
    show([await measure(name, side, megabytes, requests) for name, side in sides])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    trio.run(main, options.megabytes, options.requests)
