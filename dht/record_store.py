"""The records that this peer holds for others: pure, bounded, checked at the door.

A record is kept when its signature, size and expiry are right, when it belongs under the key (its peer
offers what the key stands for, and lies in the shard; it accuses the key's peer; it provides the key's blob), and
when it is newer than the one that is known. Keys are bounded in number, and records in all; the keys farthest
from our own id go first, as others are nearer to them.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from dht.keys import Record, belongs, distance
from dht.record_set import Held, RecordSet
from protocol.accusation import is_accusation, open_accusation
from protocol.blob_record import is_blob_provider, open_blob_provider
from protocol.capability import RECORDS_CACHED_MAX, open_capability
from protocol.errors import BadRecord, LocalError, RemoteError
from protocol.ids import PeerId, node_id_of
from protocol.limits import KEYS_PER_PEER_MAX, RECORD_CLOCK_SKEW_S, RECORDS_PER_KEY_MAX, RECORDS_PER_REPLY_MAX
from protocol.signing import Envelope

RECORDS_HELD_MAX = 16384
"""In all, so that they take 64 MiB at most."""
SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """Whether a record was kept, why not, and how many peers have one under the key."""

    accepted: bool
    reason: str
    total_estimate: int


class LateRecord(BadRecord):
    """A record that expired within the clock skew: refused, and nobody is blamed."""


def open_record(key: bytes, envelope: Envelope, now_unix_s: float) -> Held:
    """The record, checked as far as anyone can; raises `BadRecord`, `BadSignature` or `BadFrame`."""
    try:
        record = _open(envelope, now_unix_s)
    except BadRecord as error:
        if _would_have_passed(envelope, now_unix_s - RECORD_CLOCK_SKEW_S):
            raise LateRecord(str(error)) from error
        raise
    if not belongs(key, record):
        raise BadRecord(f"the record of {envelope.signer} does not belong under the key {key.hex()}")
    return Held(envelope, record.sequence, record.expires_at_unix_s)


def _open(envelope: Envelope, now_unix_s: float) -> Record:
    if is_blob_provider(envelope):
        return open_blob_provider(envelope, now_unix_s)
    return (open_accusation if is_accusation(envelope) else open_capability)(envelope, now_unix_s)


@lru_cache(maxsize=RECORDS_CACHED_MAX)
def _shared(envelope: Envelope) -> Envelope:
    """The same object for equal records: in a simulation, each has many holders in one process."""
    return envelope


def _would_have_passed(envelope: Envelope, now_unix_s: float) -> bool:
    try:
        _open(envelope, now_unix_s)
    except RemoteError:
        return False
    return True


class RecordStore:
    """All record sets of one peer. `random` salts the samples and draws the answers."""

    def __init__(
        self,
        own: PeerId,
        random: Random,
        *,
        keys_max: int = KEYS_PER_PEER_MAX,
        records_max: int = RECORDS_HELD_MAX,
        records_per_key_max: int = RECORDS_PER_KEY_MAX,
    ) -> None:
        self._own = node_id_of(own)
        self._random = random
        self._salt = random.randbytes(SALT_BYTES)
        self._keys_max = keys_max
        self._records_max = records_max
        self._records_per_key_max = records_per_key_max
        self._sets: dict[bytes, RecordSet] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def key_count(self) -> int:
        """How many keys have records here."""
        return len(self._sets)

    def add(self, key: bytes, envelope: Envelope, now_unix_s: float, origin: str = "") -> Kept:
        """Keep a record, or say why not. Raises a `RemoteError` when it is the sender's fault.

        `LateRecord` is the exception: a refusal that costs nobody trust.
        """
        known = self._sets[key].get(envelope.signer) if key in self._sets else None
        if known is None or known.envelope != envelope or known.expires_at_unix_s <= now_unix_s:
            opened = open_record(key, envelope, now_unix_s)
            known = Held(_shared(envelope), opened.sequence, opened.expires_at_unix_s, origin)
        replaces = key in self._sets and self._sets[key].get(known.peer) is not None
        no_room = "" if replaces else self._refuse_far_key(key, now_unix_s)
        reason = no_room or self._add_to_set(key, known, now_unix_s)
        return Kept(not reason, reason, self.total_estimate(key, now_unix_s))

    def sample(self, key: bytes, now_unix_s: float, count: int = RECORDS_PER_REPLY_MAX) -> list[Envelope]:
        """A random part of the live records under a key, in random order."""
        live = self._sets[key].live(now_unix_s) if key in self._sets else []
        return [record.envelope for record in self._random.sample(live, min(count, len(live)))]

    def total_estimate(self, key: bytes, now_unix_s: float) -> int:
        """How many peers are thought to have a live record under a key."""
        return self._sets[key].total_estimate(now_unix_s) if key in self._sets else 0

    def expire(self, now_unix_s: float) -> None:
        """Drop all records that have expired, and keys without any."""
        for key, records in list(self._sets.items()):
            self._count -= len(records)
            records.expire(now_unix_s)
            self._count += len(records)
            if not len(records):
                del self._sets[key]

    def check_invariants(self) -> None:
        """Raise `LocalError` when the bounds or the count are wrong."""
        total = sum(len(records) for records in self._sets.values())
        too_many = total > self._records_max or len(self._sets) > self._keys_max
        if total != self._count or too_many or any(len(s) > self._records_per_key_max for s in self._sets.values()):
            raise LocalError(f"{total} records under {len(self._sets)} keys, counted as {self._count}")

    def _add_to_set(self, key: bytes, record: Held, now_unix_s: float) -> str:
        records = self._sets.setdefault(key, RecordSet(self._salt + key, self._records_per_key_max))
        before = len(records)
        reason = records.add(record, now_unix_s)
        self._count += len(records) - before
        return reason

    def _refuse_far_key(self, key: bytes, now_unix_s: float) -> str:
        """Make room where a limit is reached; the reason why there is none for this key, or ""."""
        if self._has_room(key):
            return ""
        self.expire(now_unix_s)
        while not self._has_room(key):
            farthest = max(self._sets, key=lambda other: distance(self._own, other))
            if distance(self._own, key) >= distance(self._own, farthest):
                return f"no room: {len(self._sets)} keys that are nearer to this peer have {self._count} records"
            self._count -= len(self._sets.pop(farthest))
        return ""

    def _has_room(self, key: bytes) -> bool:
        return self._count < self._records_max and (key in self._sets or len(self._sets) < self._keys_max)
