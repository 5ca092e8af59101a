"""Our requests to contacts, over a bounded pool of long-lived streams.

Opening a stream costs several round trips, so a stream that has carried an answer waits for the next
request. One request is on a stream at a time; where that ends in any other way than with its answer, the
stream is reset, since what comes next on it could be anything.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import trio

from dht.counters import DhtCounters, type_of
from protocol.channel import MessageChannel
from protocol.errors import BadFrame, RemoteError, Unavailable
from protocol.ids import PeerId, short
from protocol.limits import REQUEST_TIMEOUT_S
from protocol.messages.dht import DHT_CODEC, Contact, DhtMessage, Failed
from protocol.network import DHT_PROTOCOL, Host, Stream

STREAMS_PER_CONTACT_MAX = 4
STREAMS_IDLE_MAX = 512
CLOSE_TIMEOUT_S = 1.0

ReplyT = TypeVar("ReplyT", bound=DhtMessage)


class Refused(Unavailable):
    """The other side understood the request and refused it, with its reason."""


@dataclass(slots=True, eq=False)
class _Line:
    peer: PeerId
    channel: MessageChannel[DhtMessage]
    requests: int = 0


@dataclass(slots=True, eq=False)
class _Contact:
    limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(STREAMS_PER_CONTACT_MAX))
    users: int = 0
    idle: list[_Line] = field(default_factory=list)


class RequestPool:
    """Sends requests and gives their answers. `introduction()` is what the first request on a stream says of us."""

    def __init__(self, host: Host, introduction: Callable[[], Contact | None], counters: DhtCounters) -> None:
        self._host = host
        self._introduction = introduction
        self._counters = counters
        self._contacts: dict[PeerId, _Contact] = {}
        self._idle: OrderedDict[_Line, None] = OrderedDict()
        self._closed = False

    async def request(self, peer: PeerId, message: DhtMessage, wanted: type[ReplyT]) -> ReplyT:
        """The answer to a request; its id and sender are filled in here.

        Raises `Unavailable` (not reached, no answer within `REQUEST_TIMEOUT_S`, `Refused`) or `RemoteError`
        (a bad frame, a wrong id, an answer of another type). Cancelling resets the stream.
        """
        async with self._slot(peer):
            line = self._take_idle(peer)
            if line is not None:
                try:
                    return await self._exchange(line, message, wanted)
                except _Stale:
                    pass  # The other side closed it while it was idle: that says nothing about a fresh one.
            line = _Line(peer, MessageChannel(await self._open(peer), DHT_CODEC))
            return await self._exchange(line, message, wanted)

    async def close(self) -> None:
        """Close the idle streams, and keep none from now on. Shielded; takes `CLOSE_TIMEOUT_S` at most."""
        self._closed = True
        lines = list(self._idle)
        self._idle.clear()
        self._contacts.clear()
        with trio.CancelScope(deadline=trio.current_time() + CLOSE_TIMEOUT_S, shield=True):
            for line in lines:
                await line.channel.stream.reset()

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
        self._counters.streams_opened += 1
        try:
            return await self._host.open_stream(peer, DHT_PROTOCOL)
        except RemoteError as error:
            # Somebody else answers at the address. Whoever spread that address is not known, so nobody is blamed.
            raise Unavailable(str(error)) from error

    async def _exchange(self, line: _Line, message: DhtMessage, wanted: type[ReplyT]) -> ReplyT:
        fresh = line.requests == 0
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                reply = await self._roundtrip(line, message)
            answer = self._checked(line, reply, wanted)
        except trio.TooSlowError as error:
            await self._reset(line)
            raise Unavailable(f"{short(line.peer)} did not answer within {REQUEST_TIMEOUT_S:.0f} s") from error
        except Refused:
            await self._keep(line)
            raise
        except Unavailable as error:
            await self._reset(line)
            raise error if fresh else _Stale(str(error)) from error
        except BaseException:
            await self._reset(line)
            raise
        await self._keep(line)
        return answer

    async def _roundtrip(self, line: _Line, message: DhtMessage) -> DhtMessage:
        changes: dict[str, object] = {"request_id": line.requests}
        if line.requests == 0 and "sender" in message.__struct_fields__:
            changes["sender"] = self._introduction()
        line.requests += 1
        sent, received = line.channel.bytes_sent, line.channel.bytes_received
        self._counters.sent[type_of(message)] += 1
        try:
            await line.channel.send(msgspec.structs.replace(message, **changes))
            return await line.channel.receive()
        finally:
            self._counters.bytes_sent += line.channel.bytes_sent - sent
            self._counters.bytes_received += line.channel.bytes_received - received

    def _checked(self, line: _Line, reply: DhtMessage, wanted: type[ReplyT]) -> ReplyT:
        self._counters.received[type_of(reply)] += 1
        if reply.request_id != line.requests - 1:
            raise BadFrame(f"{line.peer} answered request {reply.request_id}, asked was {line.requests - 1}")
        if isinstance(reply, Failed):
            raise Refused(f"{short(line.peer)} refused: {reply.reason}")
        if not isinstance(reply, wanted):
            raise BadFrame(f"{line.peer} answered with {type_of(reply)!r} where {wanted.__name__} was due")
        return reply

    def _take_idle(self, peer: PeerId) -> _Line | None:
        idle = self._contacts[peer].idle
        if not idle:
            return None
        line = idle.pop()
        del self._idle[line]
        return line

    async def _keep(self, line: _Line) -> None:
        if self._closed:
            await self._reset(line)
            return
        self._idle[line] = None
        self._contacts[line.peer].idle.append(line)
        if len(self._idle) > STREAMS_IDLE_MAX:
            oldest, _ = self._idle.popitem(last=False)
            contact = self._contacts[oldest.peer]
            contact.idle.remove(oldest)
            self._forget_unused(oldest.peer, contact)
            await self._reset(oldest)

    def _forget_unused(self, peer: PeerId, contact: _Contact) -> None:
        if not contact.users and not contact.idle:
            self._contacts.pop(peer, None)

    async def _reset(self, line: _Line) -> None:
        with trio.CancelScope(deadline=trio.current_time() + CLOSE_TIMEOUT_S, shield=True):
            await line.channel.stream.reset()


class _Stale(Unavailable):
    """A stream that had carried answers before is gone."""
