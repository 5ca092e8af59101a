"""Provider records: who has a blob, signed and expiring, under the blob's key in the DHT.

A record is a claim, no more: whoever fetches checks every piece. So a false one costs a connection.
"""

from functools import lru_cache
from typing import ClassVar

from protocol.capability import RECORDS_CACHED_MAX, check_record
from protocol.messages.base import Addresses, Count, Digest, NonNegative
from protocol.signing import Envelope, SignedBody, open_envelope

_FIELD = b"mprovided_blob"
"""The field's name as it stands in the encoding: a text of thirteen bytes."""


class BlobProvider(SignedBody, frozen=True, kw_only=True):
    """The signer says that it has the whole blob and gives it to anyone who asks."""

    DOMAIN: ClassVar[str] = "blob-provider"

    provided_blob: Digest
    sequence: Count
    expires_at_unix_s: NonNegative
    addresses: Addresses = ()
    """Where the signer can be reached."""


def is_blob_provider(envelope: Envelope) -> bool:
    """Whether to read a record as one; see `protocol.accusation.is_accusation`."""
    return _FIELD in envelope.body


def open_blob_provider(envelope: Envelope, now_unix_s: float) -> BlobProvider:
    """The record inside, checked as all records; raises `BadRecord`, `BadSignature` or `BadFrame`."""
    return check_record(envelope, verified_blob_provider, now_unix_s)


@lru_cache(maxsize=RECORDS_CACHED_MAX)
def verified_blob_provider(envelope: Envelope) -> BlobProvider:
    """The record inside, checked but for size and time; raises `BadSignature` or `BadFrame`."""
    return open_envelope(envelope, BlobProvider)
