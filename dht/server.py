"""Answering the requests of others: the thin part in front of the contact table and the record store.

What breaks the protocol costs the sender its stream and is reported; what is merely not possible is
refused with a reason. Each peer may send so many requests a second.
"""

from collections.abc import Callable

import trio

from dht.contact_table import ContactTable
from dht.counters import DhtCounters, OnRemoteError, type_of
from dht.diversity import origin_of
from dht.record_store import Kept, LateRecord, RecordStore
from protocol.errors import BadFrame, BadRecord, BadSignature
from protocol.limits import CONTACTS_PER_REPLY_MAX
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
from protocol.network import Caller, TooMany
from protocol.peer_rate import PeerRate

REQUESTS_PER_PEER_PER_S_MAX = 200.0
REQUESTS_PER_PEER_BURST_MAX = 1000
PEERS_COUNTED_MAX = 8192
REASON_LENGTH_MAX = 256


class DhtServer:
    """Gives the reply to each request; holds no tasks.

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
        self._rate = PeerRate(REQUESTS_PER_PEER_BURST_MAX, REQUESTS_PER_PEER_PER_S_MAX, PEERS_COUNTED_MAX)

    def answer(self, caller: Caller, request: bytes) -> bytes:
        """The encoded reply; raises `RemoteError`, of which the host tells the service."""
        message = DHT_CODEC.decode(request)
        self._counters.received[type_of(message)] += 1
        if not self._rate.allow(caller.peer, trio.current_time()):
            refusal = DHT_CODEC.encode(Failed(request_id=message.request_id, reason="too many requests"))
            raise TooMany(f"{caller.peer} sends over {REQUESTS_PER_PEER_PER_S_MAX:.0f} requests per second", refusal)
        reply = self._reply(message, caller)
        self._counters.sent[type_of(reply)] += 1
        return DHT_CODEC.encode(reply)

    def _reply(self, request: DhtMessage, caller: Caller) -> DhtMessage:
        self._table.touch(caller.peer, trio.current_time())
        match request:
            case FindNode():
                self._introduce(request.sender, caller)
                return Nodes(request_id=request.request_id, contacts=self._closest(request.target, caller))
            case Store():
                kept = self._keep(request, caller)
                return Stored(
                    request_id=request.request_id,
                    accepted=kept.accepted,
                    reason=kept.reason[:REASON_LENGTH_MAX],
                    total_estimate=kept.total_estimate,
                    contacts=self._closest(request.key, caller) if request.looking else (),
                )
            case FindRecords():
                self._introduce(request.sender, caller)
                return self._find_records(request, caller)
            case Ping():
                self._introduce(request.sender, caller)
                return Pong(request_id=request.request_id)
        raise BadFrame(f"{caller.peer} sent {type_of(request)!r} as a request")

    def _find_records(self, request: FindRecords, caller: Caller) -> Records:
        now_unix_s = self._wall_clock()
        return Records(
            request_id=request.request_id,
            records=tuple(self._records.sample(request.key, now_unix_s)),
            total_estimate=self._records.total_estimate(request.key, now_unix_s),
            contacts=self._closest(request.key, caller),
        )

    def _keep(self, request: Store, caller: Caller) -> Kept:
        now_unix_s = self._wall_clock()
        origin = origin_of(caller.address)
        try:
            return self._records.add(request.key, request.record, now_unix_s, origin)
        except LateRecord as error:
            reason = str(error)
        except (BadRecord, BadSignature, BadFrame) as error:
            self._on_remote_error(caller.peer, error)
            reason = str(error)
        return Kept(accepted=False, reason=reason, total_estimate=self._records.total_estimate(request.key, now_unix_s))

    def _closest(self, target: bytes, caller: Caller) -> tuple[Contact, ...]:
        contacts = self._table.closest(target, CONTACTS_PER_REPLY_MAX + 1)
        return tuple([contact for contact in contacts if contact.peer != caller.peer][:CONTACTS_PER_REPLY_MAX])

    def _introduce(self, sender: Contact | None, caller: Caller) -> None:
        if sender is None:
            return
        if sender.peer != caller.peer:
            raise BadFrame(f"{caller.peer} introduces itself as {sender.peer}")
        self._on_introduced(sender)
