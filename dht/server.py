"""Answering the requests of others: the thin part in front of the contact table and the record store.

What breaks the protocol costs the sender its stream and is reported; what is merely not possible is
refused with a reason. Limits: streams per peer, streams in all, requests per second and peer, the time
that a stream may be idle and that an answer may take to be read.
"""

from collections import Counter
from collections.abc import Callable

import trio

from dht.contact_table import ContactTable
from dht.counters import DhtCounters, OnRemoteError, type_of
from dht.diversity import origin_of
from dht.record_store import Kept, LateRecord, RecordStore
from protocol.channel import MessageChannel
from protocol.errors import BadFrame, BadRecord, BadSignature, RemoteError, StreamClosed, Unavailable
from protocol.ids import PeerId
from protocol.limits import CONTACTS_PER_REPLY_MAX, REQUEST_TIMEOUT_S
from protocol.messages.dht import (
    DHT_CODEC,
    Contact,
    DhtMessage,
    Failed,
    FindNode,
    FindRecords,
    Nodes,
    Ping,
    Pong,
    Records,
    Store,
    Stored,
)
from protocol.network import Stream

STREAMS_SERVED_PER_PEER_MAX = 16
STREAMS_SERVED_MAX = 4096
STREAM_IDLE_S = 300.0
REQUESTS_PER_PEER_PER_S_MAX = 200.0
REQUESTS_PER_PEER_BURST_MAX = 1000.0
LINGER_S = 1.0
"""How long a last refusal may take to arrive before the stream is reset under it."""
REASON_LENGTH_MAX = 256


class _Allowance:
    """A token bucket: how many requests a peer may still send."""

    def __init__(self, now: float) -> None:
        self._tokens, self._at = REQUESTS_PER_PEER_BURST_MAX, now

    def take(self, now: float) -> bool:
        refilled = self._tokens + (now - self._at) * REQUESTS_PER_PEER_PER_S_MAX
        self._tokens, self._at = min(refilled, REQUESTS_PER_PEER_BURST_MAX), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class TooMany(RemoteError):
    """More streams or requests than one peer may have."""


class DhtServer:
    """Serves one stream per call of `serve_stream`; holds no tasks of its own.

    `on_introduced` is told of senders that say that they serve the DHT; it must not block.
    """

    def __init__(
        self,
        table: ContactTable,
        records: RecordStore,
        counters: DhtCounters,
        *,
        wall_clock: Callable[[], float],
        on_introduced: Callable[[Contact], None],
        on_remote_error: OnRemoteError,
    ) -> None:
        self._table = table
        self._records = records
        self._counters = counters
        self._wall_clock = wall_clock
        self._on_introduced = on_introduced
        self._on_remote_error = on_remote_error
        self._streams: Counter[PeerId] = Counter()
        self._allowances: dict[PeerId, _Allowance] = {}

    async def serve_stream(self, stream: Stream) -> None:
        """Answer requests until the stream ends, idles too long, or breaks the protocol. Raises nothing."""
        peer = stream.remote_peer
        self._streams[peer] += 1
        self._allowances.setdefault(peer, _Allowance(trio.current_time()))
        try:
            self._check_streams(peer)
            await self._answer_all(MessageChannel(stream, DHT_CODEC))
            await stream.close()
        except RemoteError as error:
            self._on_remote_error(peer, error)
            await stream.reset()
        except Unavailable:
            await stream.reset()
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer], self._allowances[peer]

    def _check_streams(self, peer: PeerId) -> None:
        if self._streams[peer] > STREAMS_SERVED_PER_PEER_MAX:
            raise TooMany(f"{peer} opened more than {STREAMS_SERVED_PER_PEER_MAX} DHT streams")
        if self._streams.total() > STREAMS_SERVED_MAX:
            raise Unavailable(f"{STREAMS_SERVED_MAX} DHT streams are being served")

    async def _answer_all(self, channel: MessageChannel[DhtMessage]) -> None:
        while (request := await self._receive(channel)) is not None:
            self._counters.received[type_of(request)] += 1
            if not self._allowances[channel.remote_peer].take(trio.current_time()):
                await self._send(channel, Failed(request_id=request.request_id, reason="too many requests"))
                await trio.sleep(LINGER_S)
                raise TooMany(f"{channel.remote_peer} sends over {REQUESTS_PER_PEER_PER_S_MAX:.0f} requests per second")
            await self._send(channel, self._answer(request, channel.stream))

    async def _receive(self, channel: MessageChannel[DhtMessage]) -> DhtMessage | None:
        with trio.move_on_after(STREAM_IDLE_S):
            try:
                return await channel.receive()
            except StreamClosed:
                pass
        return None

    async def _send(self, channel: MessageChannel[DhtMessage], reply: DhtMessage) -> None:
        self._counters.sent[type_of(reply)] += 1
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                await channel.send(reply)
        except trio.TooSlowError as error:
            raise Unavailable(f"{channel.remote_peer} does not read its answers") from error

    def _answer(self, request: DhtMessage, stream: Stream) -> DhtMessage:
        self._table.touch(stream.remote_peer, trio.current_time())
        match request:
            case Ping():
                self._introduce(request.sender, stream)
                return Pong(request_id=request.request_id)
            case FindNode():
                self._introduce(request.sender, stream)
                return Nodes(request_id=request.request_id, contacts=self._closest(request.target, stream))
            case Store():
                kept = self._keep(request, stream)
                reason, total = kept.reason[:REASON_LENGTH_MAX], kept.total_estimate
                return Stored(
                    request_id=request.request_id, accepted=kept.accepted, reason=reason, total_estimate=total
                )
            case FindRecords():
                self._introduce(request.sender, stream)
                return self._find_records(request, stream)
        raise BadFrame(f"{stream.remote_peer} sent {type_of(request)!r} as a request")

    def _find_records(self, request: FindRecords, stream: Stream) -> Records:
        now_unix_s = self._wall_clock()
        return Records(
            request_id=request.request_id,
            records=tuple(self._records.sample(request.key, now_unix_s)),
            total_estimate=self._records.total_estimate(request.key, now_unix_s),
            contacts=self._closest(request.key, stream),
        )

    def _keep(self, request: Store, stream: Stream) -> Kept:
        now_unix_s = self._wall_clock()
        origin = origin_of(stream.remote_address)
        try:
            return self._records.add(request.key, request.record, now_unix_s, origin)
        except LateRecord as error:
            reason = str(error)
        except (BadRecord, BadSignature, BadFrame) as error:
            self._on_remote_error(stream.remote_peer, error)
            reason = str(error)
        return Kept(accepted=False, reason=reason, total_estimate=self._records.total_estimate(request.key, now_unix_s))

    def _closest(self, target: bytes, stream: Stream) -> tuple[Contact, ...]:
        contacts = self._table.closest(target, CONTACTS_PER_REPLY_MAX + 1)
        others = (contact for contact in contacts if contact.peer != stream.remote_peer)
        return tuple(others)[:CONTACTS_PER_REPLY_MAX]

    def _introduce(self, sender: Contact | None, stream: Stream) -> None:
        if sender is None:
            return
        if sender.peer != stream.remote_peer:
            raise BadFrame(f"{stream.remote_peer} introduces itself as {sender.peer}")
        self._on_introduced(sender)
