"""What all messages share: the base class, the codec, the annotated field types."""

from typing import Annotated, Any, Generic, Self, TypeVar

import msgspec
from msgspec import Meta

from protocol import encoding
from protocol.errors import BadFrame, UnknownMessage
from protocol.ids import DIGEST_BYTES, NODE_ID_BYTES, BidId, ChunkId, JobId, LeaseId, PeerId
from protocol.limits import (
    ADDRESS_LENGTH_MAX,
    ADDRESSES_PER_PEER_MAX,
    PEER_ID_LENGTH_MAX,
    SHORT_TEXT_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)

PeerIdField = Annotated[PeerId, Meta(max_length=PEER_ID_LENGTH_MAX)]
JobIdField = Annotated[JobId, Meta(max_length=64)]
LeaseIdField = Annotated[LeaseId, Meta(max_length=64)]
BidIdField = Annotated[BidId, Meta(max_length=64)]
ChunkIdField = Annotated[ChunkId, Meta(ge=0, le=2**53)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
RequestId = Annotated[int, Meta(ge=0, le=2**53)]
NonNegative = Annotated[float, Meta(ge=0.0, le=1e18)]
Positive = Annotated[float, Meta(gt=0.0, le=1e18)]
ShortText = Annotated[str, Meta(max_length=SHORT_TEXT_LENGTH_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX)]
Digest = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
DhtKey = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
Address = Annotated[str, Meta(max_length=ADDRESS_LENGTH_MAX)]
Addresses = Annotated[tuple[Address, ...], Meta(max_length=ADDRESSES_PER_PEER_MAX)]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what lies inside a message."""


class Packed:
    """Base of what travels inside a message as one byte string, its own canonical encoding.

    For parts that are sent and received again and again: each is encoded and decoded once.
    """

    __slots__ = ()

    def pack(self) -> bytes:
        """The one encoding."""
        raise NotImplementedError

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The part; raises `BadFrame`."""
        raise NotImplementedError


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of every message; subclasses say `tag="name"`."""


MessageT = TypeVar("MessageT", bound=Message)


class MessageCodec(Generic[MessageT]):
    """Encodes and decodes the messages of one protocol, given as its types."""

    def __init__(self, *types: type[MessageT]) -> None:
        self.types = types
        self._by_name: dict[object, type[MessageT]] = {str(one.__struct_config__.tag): one for one in types}

    def encode(self, message: MessageT) -> bytes:
        """Canonical CBOR of the message."""
        return encoding.encode(to_plain(message))

    def decode(self, payload: bytes) -> MessageT:
        """The typed message; raises `UnknownMessage` or `BadFrame`."""
        value = encoding.decode(payload)
        if not isinstance(value, dict):
            raise BadFrame(f"a message must be a map, not a {type(value).__name__}")
        name = value.get("type")
        wanted = self._by_name.get(name) if isinstance(name, str) else None
        if wanted is None:
            shown = repr(name[:64]) if isinstance(name, str) else f"of {type(name).__name__}"
            raise UnknownMessage(f"unknown message type {shown}")
        return from_plain(value, wanted)


PlainT = TypeVar("PlainT")


def to_plain(value: object) -> object:
    """Dicts, lists, text, numbers and bytes only."""
    return msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=_pack)


def from_plain(value: object, wanted: type[PlainT]) -> PlainT:
    """The typed value; raises `BadFrame` when it does not fit, naming the field."""
    try:
        return msgspec.convert(value, wanted, dec_hook=_unpack)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadFrame(f"does not fit its type: {error}") from error


def _pack(value: object) -> bytes:
    if isinstance(value, Packed):
        return value.pack()
    raise NotImplementedError(f"{type(value).__name__} does not belong into a message")


def _unpack(wanted: type[Any], value: object) -> object:
    if not issubclass(wanted, Packed):
        raise NotImplementedError(f"{wanted.__name__} does not belong into a message")
    if type(value) is not bytes:
        raise BadFrame(f"does not fit its type: {wanted.__name__} must be bytes, not {type(value).__name__}")
    return wanted.unpack(value)
