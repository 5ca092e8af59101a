"""The records under one key: a bounded uniform sample of the peers, and how many there are in all.

The sample is the bottom k by rank, a secret hash of the peer id. Against reservoir sampling this has two
advantages: publishing again does not improve a peer's chance, and the ranks tell the total (k records with
rank below r stand for k/r). Nobody can choose an id of low rank, for the salt is the holder's own.

One public network (/24, /48) that fills its share of a full key competes with itself only.
"""

import hashlib
from dataclasses import dataclass

from protocol.ids import PeerId
from protocol.limits import RECORDS_PER_KEY_MAX
from protocol.signing import Envelope

ORIGIN_SHARE_MAX = 0.25


@dataclass(frozen=True, slots=True)
class Held:
    """A checked record, and the network from which it came ("" when that says nothing)."""

    envelope: Envelope
    sequence: int
    expires_at_unix_s: float
    origin: str = ""

    @property
    def peer(self) -> PeerId:
        """Whose record it is."""
        return self.envelope.signer


class RecordSet:
    """See the module. Wall-clock times; expired records are neither given out nor counted."""

    def __init__(self, salt: bytes, records_max: int = RECORDS_PER_KEY_MAX) -> None:
        self._salt = salt
        self._records_max = records_max
        self._records: dict[PeerId, tuple[float, Held]] = {}
        self._threshold = 1.0
        """Every live record ever offered with a rank below this is here."""
        self._threshold_until = 0.0

    def __len__(self) -> int:
        return len(self._records)

    def get(self, peer: PeerId) -> Held | None:
        """A peer's record."""
        found = self._records.get(peer)
        return found[1] if found else None

    def add(self, record: Held, now_unix_s: float) -> str:
        """Keep a record that is newer than what is held of its peer; the reason why not, or ""."""
        known = self.get(record.peer)
        if known and record.sequence <= known.sequence:
            return self._refuse_known(record, known)
        self.expire(now_unix_s)
        rank = self._rank(record.peer)
        if known is None and len(self._records) >= self._records_max and not self._make_room(rank, record):
            return f"the key is full: a sample of {self._records_max} is kept"
        self._records[record.peer] = (rank, record)
        return ""

    def live(self, now_unix_s: float) -> list[Held]:
        """The records that have not expired."""
        return [record for _, record in self._records.values() if record.expires_at_unix_s > now_unix_s]

    def total_estimate(self, now_unix_s: float) -> int:
        """How many peers have a live record here: exact until the key is full, then within about 6 % (1/sqrt(256))."""
        live = [rank for rank, record in self._records.values() if record.expires_at_unix_s > now_unix_s]
        if now_unix_s >= self._threshold_until:
            return len(live)
        return max(len(live), round(sum(rank < self._threshold for rank in live) / self._threshold))

    def expire(self, now_unix_s: float) -> None:
        """Drop what has expired."""
        expired = [peer for peer, (_, record) in self._records.items() if record.expires_at_unix_s <= now_unix_s]
        for peer in expired:
            del self._records[peer]
        if now_unix_s >= self._threshold_until:
            self._threshold = 1.0

    def _refuse_known(self, record: Held, known: Held) -> str:
        if record.sequence < known.sequence:
            return f"replayed: sequence {record.sequence}, and {known.sequence} is known"
        return "" if record.envelope == known.envelope else f"two records with the sequence {record.sequence}"

    def _make_room(self, rank: float, record: Held) -> bool:
        """Evict the record of highest rank, if that is not the new one."""
        rivals = [(other_rank, other) for other_rank, other in self._records.values() if other.origin == record.origin]
        crowded = bool(record.origin) and len(rivals) >= self._records_max * ORIGIN_SHARE_MAX
        if not crowded:
            rivals = list(self._records.values())
        worst_rank, worst = max(rivals, key=lambda rival: rival[0])
        out_rank, out = (worst_rank, worst) if rank < worst_rank else (rank, record)
        if not crowded:
            self._threshold = min(self._threshold, out_rank)
            self._threshold_until = max(self._threshold_until, out.expires_at_unix_s)
        if out is not record:
            del self._records[out.peer]
        return out is not record

    def _rank(self, peer: PeerId) -> float:
        hashed = hashlib.blake2b(peer.encode(), key=self._salt, digest_size=8).digest()
        return int.from_bytes(hashed) / 2**64
