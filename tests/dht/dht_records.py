"""Capability records for the tests of the DHT."""

from functools import cache

from protocol.accusation import Accusation
from protocol.blob_record import BlobProvider
from protocol.capability import Capability, RuntimeOffer
from protocol.limits import RECORD_LIFETIME_S
from protocol.signing import Envelope, Identity

NOW_UNIX_S = 1_800_000_000.0


@cache
def identity(number: int) -> Identity:
    return Identity(number.to_bytes(32))


def capability(
    number: int,
    *,
    sequence: int = 1,
    now_unix_s: float = NOW_UNIX_S,
    runtimes: tuple[str, ...] = ("python",),
    lifetime_s: float = RECORD_LIFETIME_S,
    addresses: tuple[str, ...] = (),
) -> Capability:
    return Capability(
        peer=identity(number).peer_id,
        sequence=sequence,
        expires_at_unix_s=now_unix_s + lifetime_s,
        addresses=addresses,
        runtimes=tuple(RuntimeOffer(name=name, version="3.11", sandbox="none") for name in runtimes),
        slots=1,
    )


@cache
def accusation(issuer: int, accused: int, *, lifetime_s: float = RECORD_LIFETIME_S, sequence: int = 1) -> Envelope:
    return identity(issuer).sign(
        Accusation(
            accused=identity(accused).peer_id,
            proof=bytes(32),
            sequence=sequence,
            expires_at_unix_s=NOW_UNIX_S + lifetime_s,
        )
    )


@cache
def provider(number: int, blob: bytes, *, lifetime_s: float = RECORD_LIFETIME_S) -> Envelope:
    expires_at_unix_s = NOW_UNIX_S + lifetime_s
    return identity(number).sign(BlobProvider(provided_blob=blob, sequence=1, expires_at_unix_s=expires_at_unix_s))


@cache
def record(number: int, sequence: int = 1) -> Envelope:
    return identity(number).sign(capability(number, sequence=sequence))
