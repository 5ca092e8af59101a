"""Accusations: where in the DHT a fraud proof against a peer is announced, and by whom (DESIGN section 8).

A record under the accused peer's key says who has the proof and what its digest is; the proof itself is asked of
its issuer. Anyone may accuse anyone, so an accusation means nothing until its proof has been replayed.
"""

from functools import lru_cache
from typing import ClassVar

from protocol.capability import RECORDS_CACHED_MAX, check_record
from protocol.limits import KIB
from protocol.messages.base import Addresses, Count, Digest, NonNegative, PeerIdField
from protocol.signing import Envelope, SignedBody, open_envelope

SHARED_PROOF_BYTES_MAX = 512 * KIB
"""Larger proofs are files for people only."""
_FIELD = b"gaccused"
"""The field's name as it stands in the encoding: a text of seven bytes."""


class Accusation(SignedBody, frozen=True, kw_only=True):
    """The signer says that it can prove a lie of `accused`; `proof` is the digest of the encoded proof."""

    DOMAIN: ClassVar[str] = "accusation"

    accused: PeerIdField
    proof: Digest
    sequence: Count
    expires_at_unix_s: NonNegative
    addresses: Addresses = ()
    """Where its issuer can be reached."""


def is_accusation(envelope: Envelope) -> bool:
    """Whether to read a record as one. Another record that has these bytes in it hurts itself alone: its signature
    is not valid for an accusation."""
    return _FIELD in envelope.body


def open_accusation(envelope: Envelope, now_unix_s: float) -> Accusation:
    """The record inside, checked as all records; raises `BadRecord`, `BadSignature` or `BadFrame`."""
    return check_record(envelope, verified_accusation, now_unix_s)


@lru_cache(maxsize=RECORDS_CACHED_MAX)
def verified_accusation(envelope: Envelope) -> Accusation:
    """The record inside, checked but for size and time; raises `BadSignature` or `BadFrame`."""
    return open_envelope(envelope, Accusation)
