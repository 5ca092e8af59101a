"""The capability record: what a peer offers, signed by it, expiring (DESIGN sections 1 and 5)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, ClassVar, Protocol, TypeVar

from msgspec import Meta

from protocol.errors import BadRecord, BadSignature
from protocol.ids import PeerId
from protocol.limits import RECORD_CLOCK_SKEW_S, RECORD_LIFETIME_S, RECORD_SIZE_BYTES_MAX
from protocol.messages.base import Addresses, Count, NonNegative, Part, PeerIdField, Positive, ShortText
from protocol.requirements import GPUS_PER_PEER_MAX, GpuOffer, Machine
from protocol.signing import Envelope, SignedBody, open_envelope

RUNTIMES_PER_PEER_MAX = 16
UNKNOWN_MEMORY_BYTES = 2**62
RECORDS_CACHED_MAX = 4096
"""Records whose signature was found right are remembered: 64 MiB at most, and a hundredth of that as they are."""


class RuntimeOffer(Part, frozen=True, kw_only=True):
    """A runtime that the peer can run, for example python 3.11."""

    name: ShortText
    version: ShortText
    sandbox: ShortText


class Capability(SignedBody, frozen=True, kw_only=True):
    """What one peer offers. Prices are credits per reference-second; speed is relative to the reference."""

    DOMAIN: ClassVar[str] = "capability"

    peer: PeerIdField
    sequence: Count
    expires_at_unix_s: NonNegative
    addresses: Addresses = ()
    runtimes: Annotated[tuple[RuntimeOffer, ...], Meta(max_length=RUNTIMES_PER_PEER_MAX)] = ()
    slots: Count = 0
    memory_bytes: Count = 0
    price: NonNegative = 1.0
    speed: Positive = 1.0
    disk_bytes: Count = 0
    gpus: Annotated[tuple[GpuOffer, ...], Meta(max_length=GPUS_PER_PEER_MAX)] = ()
    fault: ShortText | None = None
    """The misbehaviour that the peer was started with on purpose, for tests and demonstrations."""

    def offers(self, runtime: str) -> bool:
        """Whether a runtime of that name is among the offers."""
        return any(offer.name == runtime for offer in self.runtimes)

    def machine(self) -> Machine:
        """What it has, to hold a job's requirements against; a peer that does not say its memory is to be asked."""
        return Machine(
            cores=self.slots,
            memory_bytes=self.memory_bytes or UNKNOWN_MEMORY_BYTES,
            disk_bytes=self.disk_bytes,
            gpus=self.gpus,
            versions={offer.name: offer.version for offer in self.runtimes},
            sandboxes={offer.name: offer.sandbox for offer in self.runtimes},
        )


def open_capability(envelope: Envelope, now_unix_s: float, peer: PeerId | None = None) -> Capability:
    """The record inside, checked as DESIGN section 5 demands at every hop.

    Raises `BadRecord` (oversized, expired, expiry too far away, about another peer) or `BadSignature`.
    """
    if peer is not None and envelope.signer != peer:
        raise BadSignature(f"a record signed by {envelope.signer}, expected {peer}")
    return check_record(envelope, verified_capability, now_unix_s)


class Expiring(Protocol):
    """A record of any kind."""

    @property
    def expires_at_unix_s(self) -> float:
        """When it is over."""


RecordT = TypeVar("RecordT", bound=Expiring)


def check_record(envelope: Envelope, verify: Callable[[Envelope], RecordT], now_unix_s: float) -> RecordT:
    """The record that `verify` finds in it, if size and time are right; raises `BadRecord` and what `verify` raises."""
    if len(envelope.body) > RECORD_SIZE_BYTES_MAX:
        raise BadRecord(f"a record of {len(envelope.body)} bytes; at most {RECORD_SIZE_BYTES_MAX} are allowed")
    record = verify(envelope)
    if record.expires_at_unix_s <= now_unix_s:
        raise BadRecord(f"the record of {envelope.signer} expired {now_unix_s - record.expires_at_unix_s:.0f} s ago")
    if record.expires_at_unix_s > now_unix_s + RECORD_LIFETIME_S + RECORD_CLOCK_SKEW_S:
        raise BadRecord(f"the record of {envelope.signer} claims to live longer than {RECORD_LIFETIME_S:.0f} s")
    return record


@lru_cache(maxsize=RECORDS_CACHED_MAX)
def verified_capability(envelope: Envelope) -> Capability:
    """The record inside, checked but for size and time; remembered, since the same one comes from all its holders.

    Raises `BadSignature` or `BadFrame`.
    """
    record = open_envelope(envelope, Capability)
    if record.peer != envelope.signer:
        raise BadSignature(f"a record about {record.peer} signed by {envelope.signer}")
    return record
