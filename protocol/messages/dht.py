"""Messages of `/parallel-peer/dht/1`: requests and their replies."""

from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

from protocol import encoding
from protocol.ids import PeerId
from protocol.limits import CONTACTS_PER_REPLY_MAX, RECORDS_PER_REPLY_MAX
from protocol.messages.base import (
    Addresses,
    Count,
    DhtKey,
    Message,
    MessageCodec,
    Packed,
    Part,
    PeerIdField,
    RequestId,
    ShortText,
    from_plain,
    to_plain,
)
from protocol.signing import Envelope

CONTACTS_CACHED_MAX = 1 << 16
CONTACT_CACHED_BYTES_MAX = 256
"""Longer ones are decoded each time, so that what a hostile peer fills the cache with stays small."""


class _ContactBody(Part, frozen=True, kw_only=True):
    peer: PeerIdField
    addresses: Addresses = ()


class Contact(Packed):
    """A peer that serves the DHT and where it may be dialled. Immutable; equal ones that came in are one object."""

    __slots__ = ("_packed", "addresses", "peer")

    peer: Final[PeerId]
    addresses: Final[tuple[str, ...]]

    def __init__(self, *, peer: PeerId, addresses: tuple[str, ...] = ()) -> None:
        self.peer = peer
        self.addresses = addresses
        self._packed: bytes | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Contact):
            return NotImplemented
        return self is other or (self.peer == other.peer and self.addresses == other.addresses)

    def __hash__(self) -> int:
        return hash(self.peer)

    def __repr__(self) -> str:
        return f"Contact(peer={self.peer!r}, addresses={self.addresses!r})"

    def pack(self) -> bytes:
        """See `Packed`."""
        if self._packed is None:
            self._packed = encoding.encode(to_plain(_ContactBody(peer=self.peer, addresses=self.addresses)))
        return self._packed

    @classmethod
    def unpack(cls, data: bytes) -> "Contact":
        """See `Packed`."""
        return _shared_contact(data) if len(data) <= CONTACT_CACHED_BYTES_MAX else _read_contact(data)


def _read_contact(data: bytes) -> Contact:
    body = from_plain(encoding.decode_canonical(data), _ContactBody)
    contact = Contact(peer=body.peer, addresses=body.addresses)
    contact._packed = data
    return contact


_shared_contact = lru_cache(maxsize=CONTACTS_CACHED_MAX)(_read_contact)

Contacts = Annotated[tuple[Contact, ...], Meta(max_length=CONTACTS_PER_REPLY_MAX)]
Envelopes = Annotated[tuple[Envelope, ...], Meta(max_length=RECORDS_PER_REPLY_MAX)]


class DhtMessage(Message, frozen=True, kw_only=True):
    """Every request carries an id that its reply names."""

    request_id: RequestId


class Ping(DhtMessage, frozen=True, kw_only=True, tag="ping"):
    """Are you there? `sender` introduces a sender that serves the DHT itself."""

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
    """Keep this signed record under this key until it expires; `looking` asks for contacts near the key as well."""

    key: DhtKey
    record: Envelope
    looking: bool = False


class Stored(DhtMessage, frozen=True, kw_only=True, tag="stored"):
    """Whether it was kept, why not, and how many records the key is thought to have."""

    accepted: bool
    reason: ShortText = ""
    total_estimate: Count = 0
    contacts: Contacts = ()


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
