"""Requests and replies over streams, for hosts that have nothing but streams.

A frame is a payload; one request at a time is on a stream. Opening a stream costs several round trips, so one that
has carried an answer waits for the next request, in a bounded pool. Where a request ends in any other way than with
its answer, its stream is reset, since what comes next on it could be anything.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from protocol.errors import BadFrame, RemoteError, StreamClosed, Unavailable
from protocol.framing import FrameDecoder, frame
from protocol.ids import PeerId, short
from protocol.limits import REQUEST_TIMEOUT_S
from protocol.network import Answerer, Caller, Stream, StreamHandler, TooMany

STREAMS_PER_CONTACT_MAX = 4
STREAMS_IDLE_MAX = 512
STREAMS_SERVED_PER_PEER_MAX = 16
STREAMS_SERVED_MAX = 4096
STREAM_IDLE_S = 300.0
CLOSE_TIMEOUT_S = 1.0
LINGER_S = 1.0
"""How long a last reply may take to arrive before the stream is reset under it."""

ReplyT = TypeVar("ReplyT")


class FrameStream:
    """A stream of payloads over a stream of bytes. One task sends, one receives."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._decoder = FrameDecoder()

    async def send(self, payload: bytes) -> None:
        """Send one payload; raises `Unavailable`."""
        await self.stream.send(frame(payload))

    async def receive(self) -> bytes:
        """The next payload; raises `StreamClosed` at an orderly end and a `RemoteError` for a bad frame."""
        while (payload := self._decoder.next_frame()) is None:
            data = await self.stream.receive()
            if not data:
                self._end()
            self._decoder.feed(data)
        return payload

    def _end(self) -> None:
        try:
            self._decoder.finish()
        except BadFrame as error:
            raise BadFrame(f"{error}, from {self.stream.remote_peer}") from error
        raise StreamClosed(f"the stream with {self.stream.remote_peer} has ended")


@dataclass(slots=True, eq=False)
class _Line:
    peer: PeerId
    frames: FrameStream
    used: bool = False


@dataclass(slots=True, eq=False)
class _Contact:
    limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(STREAMS_PER_CONTACT_MAX))
    users: int = 0
    idle: list[_Line] = field(default_factory=list)


class RequestPool:
    """Sends requests of one protocol. `open_stream` opens a stream to a peer, as `Host.open_stream` does."""

    def __init__(self, open_stream: Callable[[PeerId], Awaitable[Stream]]) -> None:
        self.streams_opened = 0
        self._open_stream = open_stream
        self._contacts: dict[PeerId, _Contact] = {}
        self._idle: OrderedDict[_Line, None] = OrderedDict()
        self._closed = False

    async def request(self, peer: PeerId, payload: bytes, read: Callable[[bytes], ReplyT]) -> ReplyT:
        """See `protocol.network.Host.request`."""
        async with self._slot(peer):
            line = self._take_idle(peer)
            if line is not None:
                try:
                    return await self._exchange(line, payload, read)
                except _Stale:
                    pass  # The other side closed it while it was idle: that says nothing about a fresh one.
            return await self._exchange(_Line(peer, FrameStream(await self._open(peer))), payload, read)

    async def close(self) -> None:
        """Close the idle streams, and keep none from now on. Shielded; takes `CLOSE_TIMEOUT_S` at most."""
        self._closed = True
        lines = list(self._idle)
        self._idle.clear()
        self._contacts.clear()
        with trio.CancelScope(deadline=trio.current_time() + CLOSE_TIMEOUT_S, shield=True):
            for line in lines:
                await line.frames.stream.reset()

    @asynccontextmanager
    async def _slot(self, peer: PeerId) -> AsyncIterator[None]:
        contact = self._contacts.setdefault(peer, _Contact())
        contact.users += 1
        try:
            async with contact.limiter:
                yield
        finally:
            contact.users -= 1
            self._forget_unused(peer, contact)

    async def _open(self, peer: PeerId) -> Stream:
        self.streams_opened += 1
        try:
            return await self._open_stream(peer)
        except RemoteError as error:
            # Somebody else answers at the address. Whoever spread that address is not known, so nobody is blamed.
            raise Unavailable(str(error)) from error

    async def _exchange(self, line: _Line, payload: bytes, read: Callable[[bytes], ReplyT]) -> ReplyT:
        fresh, line.used = not line.used, True
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                await line.frames.send(payload)
                reply = await line.frames.receive()
            answer = read(reply)
        except trio.TooSlowError as error:
            await _reset(line)
            raise Unavailable(f"{short(line.peer)} did not answer within {REQUEST_TIMEOUT_S:.0f} s") from error
        except Unavailable as error:
            await _reset(line)
            raise error if fresh else _Stale(str(error)) from error
        except BaseException:
            await _reset(line)
            raise
        await self._keep(line)
        return answer

    def _take_idle(self, peer: PeerId) -> _Line | None:
        idle = self._contacts[peer].idle
        if not idle:
            return None
        line = idle.pop()
        del self._idle[line]
        return line

    async def _keep(self, line: _Line) -> None:
        if self._closed:
            await _reset(line)
            return
        self._idle[line] = None
        self._contacts[line.peer].idle.append(line)
        if len(self._idle) > STREAMS_IDLE_MAX:
            oldest, _ = self._idle.popitem(last=False)
            contact = self._contacts[oldest.peer]
            contact.idle.remove(oldest)
            self._forget_unused(oldest.peer, contact)
            await _reset(oldest)

    def _forget_unused(self, peer: PeerId, contact: _Contact) -> None:
        if not contact.users and not contact.idle:
            self._contacts.pop(peer, None)


class RequestServer:
    """Answers what comes on the streams of one protocol: `serve_stream` is a `protocol.network.StreamHandler`."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._streams: Counter[PeerId] = Counter()

    async def serve_stream(self, stream: Stream) -> None:
        """Answer until the stream ends, idles too long, or breaks the protocol. Raises nothing of that."""
        peer = stream.remote_peer
        self._streams[peer] += 1
        try:
            self._check_streams(peer)
            await self._answer_all(FrameStream(stream), Caller(peer, stream.remote_address))
            await stream.close()
        except RemoteError as error:
            self._answerer.on_breach(peer, error)
            await stream.reset()
        except Unavailable:
            await stream.reset()
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    def _check_streams(self, peer: PeerId) -> None:
        if self._streams[peer] > STREAMS_SERVED_PER_PEER_MAX:
            raise TooMany(f"{peer} opened more than {STREAMS_SERVED_PER_PEER_MAX} streams for requests")
        if self._streams.total() > STREAMS_SERVED_MAX:
            raise Unavailable(f"{STREAMS_SERVED_MAX} streams for requests are being served")

    async def _answer_all(self, frames: FrameStream, caller: Caller) -> None:
        while (request := await self._receive(frames)) is not None:
            try:
                await self._send(frames, self._answerer.answer(caller, request))
            except TooMany as error:
                if error.reply:
                    await self._send(frames, error.reply)
                    await trio.sleep(LINGER_S)
                raise

    async def _receive(self, frames: FrameStream) -> bytes | None:
        with trio.move_on_after(STREAM_IDLE_S):
            try:
                return await frames.receive()
            except StreamClosed:
                pass
        return None

    async def _send(self, frames: FrameStream, reply: bytes) -> None:
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                await frames.send(reply)
        except trio.TooSlowError as error:
            raise Unavailable(f"{frames.stream.remote_peer} does not read its answers") from error


class RequestsOverStreams:
    """What a host that has streams needs besides, to carry requests: a pool for each protocol, closed with it."""

    def __init__(self) -> None:
        self._pools: dict[str, RequestPool] = {}

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """See `protocol.network.Host`."""
        raise NotImplementedError

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """See `protocol.network.Host`."""
        raise NotImplementedError

    def add_addresses(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """See `protocol.network.Host`."""
        raise NotImplementedError

    async def request(
        self,
        peer: PeerId,
        protocol: str,
        payload: bytes,
        read: Callable[[bytes], ReplyT],
        addresses: Sequence[str] = (),
    ) -> ReplyT:
        """See `protocol.network.Host`."""
        if addresses:
            self.add_addresses(peer, addresses)
        return await self.pool_of(protocol).request(peer, payload, read)

    def answer(self, protocol: str, answerer: Answerer) -> None:
        """See `protocol.network.Host`."""
        self.serve(protocol, RequestServer(answerer).serve_stream)

    def pool_of(self, protocol: str) -> RequestPool:
        """Our streams for the requests of a protocol."""
        pool = self._pools.get(protocol)
        if pool is None:
            pool = self._pools[protocol] = RequestPool(partial(self.open_stream, protocol=protocol))
        return pool

    async def close_pools(self) -> None:
        """See `RequestPool.close`."""
        for pool in self._pools.values():
            await pool.close()


async def _reset(line: _Line) -> None:
    with trio.CancelScope(deadline=trio.current_time() + CLOSE_TIMEOUT_S, shield=True):
        await line.frames.stream.reset()


class _Stale(Unavailable):
    """A stream that had carried answers before is gone."""
