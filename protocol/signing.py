"""Signatures: Ed25519 over `b"parallel-peer/<type>/1\\0" + canonical CBOR of the body`.

The domain keeps a signature made for one purpose from being shown for another. The envelope carries
the exact bytes that were signed, which must be canonical, so that a body has one signature.
"""

from functools import lru_cache
from typing import Annotated, ClassVar, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import encoding
from protocol.errors import BadFrame, BadRecord, BadSignature
from protocol.ids import PeerId, peer_id_from_public_key, public_key_of
from protocol.limits import SIGNED_BODY_BYTES_MAX
from protocol.messages.base import Part, PeerIdField, from_plain, to_plain

KEY_SEED_BYTES = 32


class SignedBody(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what gets signed; subclasses set `DOMAIN`."""

    DOMAIN: ClassVar[str]


BodyT = TypeVar("BodyT", bound=SignedBody)


class Envelope(Part, frozen=True, kw_only=True):
    """A signed body: who signed, the exact bytes, the signature."""

    signer: PeerIdField
    body: Annotated[bytes, msgspec.Meta(max_length=SIGNED_BODY_BYTES_MAX)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Identity:
    """An Ed25519 key and its peer id. The seed comes from outside: nothing is drawn here."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.seed = seed
        self.peer_id: PeerId = peer_id_from_public_key(self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"

    def sign(self, body: SignedBody) -> Envelope:
        """The body in its signed envelope."""
        data = encoding.encode(to_plain(body))
        return Envelope(signer=self.peer_id, body=data, signature=self._key.sign(_domain(type(body)) + data))


def open_envelope(envelope: Envelope, wanted: type[BodyT], signer: PeerId | None = None) -> BodyT:
    """The body, checked: signature, domain, canonical form, type, and the signer where one is expected.

    Raises `BadSignature` or `BadFrame`.
    """
    if signer is not None and envelope.signer != signer:
        raise BadSignature(f"{wanted.DOMAIN} signed by {envelope.signer}, expected {signer}")
    try:
        _public_key(envelope.signer).verify(envelope.signature, _domain(wanted) + envelope.body)
    except (InvalidSignature, BadRecord, ValueError) as error:
        raise BadSignature(f"the signature of {wanted.DOMAIN} by {envelope.signer} is not valid") from error
    try:
        return from_plain(encoding.decode_canonical(envelope.body), wanted)
    except BadFrame as error:
        raise BadFrame(f"{wanted.DOMAIN} signed by {envelope.signer}: {error}") from error


@lru_cache(maxsize=1024)
def _public_key(peer_id: PeerId) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key_of(peer_id))


def _domain(body_type: type[SignedBody]) -> bytes:
    return b"parallel-peer/" + body_type.DOMAIN.encode() + b"/1\0"
