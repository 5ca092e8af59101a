"""Messages of `/parallel-peer/dht/1`: one request and one reply at a time on a long-lived stream."""

from typing import Annotated

from msgspec import Meta

from protocol.limits import CONTACTS_PER_REPLY_MAX, RECORDS_PER_REPLY_MAX
from protocol.messages.base import (
    Addresses,
    Count,
    DhtKey,
    Message,
    MessageCodec,
    Part,
    PeerIdField,
    RequestId,
    ShortText,
)
from protocol.signing import Envelope


class Contact(Part, frozen=True, kw_only=True):
    """A peer that serves the DHT and where it may be dialled."""

    peer: PeerIdField
    addresses: Addresses = ()


Contacts = Annotated[tuple[Contact, ...], Meta(max_length=CONTACTS_PER_REPLY_MAX)]
Envelopes = Annotated[tuple[Envelope, ...], Meta(max_length=RECORDS_PER_REPLY_MAX)]


class DhtMessage(Message, frozen=True, kw_only=True):
    """Every request carries an id that its reply names."""

    request_id: RequestId


class Ping(DhtMessage, frozen=True, kw_only=True, tag="ping"):
    """Are you there? `contact` introduces a sender that serves the DHT itself."""

    sender: Contact | None = None


class Pong(DhtMessage, frozen=True, kw_only=True, tag="pong"):
    """Yes."""


class FindNode(DhtMessage, frozen=True, kw_only=True, tag="find_node"):
    """The contacts closest to a target. `sender` introduces a sender that serves the DHT itself."""

    target: DhtKey
    sender: Contact | None = None


class Nodes(DhtMessage, frozen=True, kw_only=True, tag="nodes"):
    """Contacts, closest first."""

    contacts: Contacts


class Store(DhtMessage, frozen=True, kw_only=True, tag="store"):
    """Keep this signed record under this key until it expires."""

    key: DhtKey
    record: Envelope


class Stored(DhtMessage, frozen=True, kw_only=True, tag="stored"):
    """Whether it was kept, why not, and how many records the key is thought to have."""

    accepted: bool
    reason: ShortText = ""
    total_estimate: Count = 0


class FindRecords(DhtMessage, frozen=True, kw_only=True, tag="find_records"):
    """Records under a key, and contacts closer to it."""

    key: DhtKey
    sender: Contact | None = None


class Records(DhtMessage, frozen=True, kw_only=True, tag="records"):
    """A random part of the records, an estimate of how many there are, and contacts closest first."""

    records: Envelopes = ()
    total_estimate: Count = 0
    contacts: Contacts = ()


class Failed(DhtMessage, frozen=True, kw_only=True, tag="failed"):
    """The request was understood and refused, with the reason."""

    reason: ShortText


DhtRequest = Ping | FindNode | Store | FindRecords
DhtReply = Pong | Nodes | Stored | Records | Failed
DHT_CODEC: MessageCodec[DhtMessage] = MessageCodec(
    Ping, Pong, FindNode, Nodes, Store, Stored, FindRecords, Records, Failed
)
