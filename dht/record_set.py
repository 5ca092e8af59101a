"""The records under one key: a bounded uniform sample of the peers, and how many there are in all.

The sample is the bottom k by rank, a secret hash of the peer id. Against reservoir sampling this has two
advantages: publishing again does not improve a peer's chance, and the ranks tell the total (k records with
rank below r stand for k/r). Nobody can choose an id of low rank, for the salt is the holder's own.

One public network (/24, /48) that fills its share of a full key competes with itself only.
"""

import hashlib
import math
from bisect import bisect_left
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
        self._records: dict[PeerId, Held] = {}
        self._ranks: list[float] = []
        """Those of all records here, sorted."""
        self._by_rank: list[PeerId] = []
        """Whose records these ranks are."""
        self._expires_first_at = math.inf
        """No record here expires before."""
        self._threshold = 1.0
        """Every live record ever offered with a rank below this is here."""
        self._threshold_until = 0.0

    def __len__(self) -> int:
        return len(self._records)

    def get(self, peer: PeerId) -> Held | None:
        """A peer's record."""
        return self._records.get(peer)

    def add(self, record: Held, now_unix_s: float) -> str:
        """Keep a record that is newer than what is held of its peer; the reason why not, or ""."""
        known = self.get(record.peer)
        if known and record.sequence <= known.sequence:
            return self._refuse_known(record, known)
        self.expire(now_unix_s)
        rank = self._rank(record.peer)
        if known is None and len(self._records) >= self._records_max and not self._make_room(rank, record):
            return f"the key is full: a sample of {self._records_max} is kept"
        if known is None:
            place = bisect_left(self._ranks, rank)
            self._ranks.insert(place, rank)
            self._by_rank.insert(place, record.peer)
        self._records[record.peer] = record
        self._expires_first_at = min(self._expires_first_at, record.expires_at_unix_s)
        return ""

    def live(self, now_unix_s: float) -> list[Held]:
        """The records that have not expired."""
        return [record for record in self._records.values() if record.expires_at_unix_s > now_unix_s]

    def total_estimate(self, now_unix_s: float) -> int:
        """How many peers have a live record here: exact until the key is full, then within about 6 % (1/sqrt(256))."""
        ranks = self._ranks
        if now_unix_s >= self._expires_first_at:
            ranks = sorted(self._rank(record.peer) for record in self.live(now_unix_s))
        if now_unix_s >= self._threshold_until:
            return len(ranks)
        return max(len(ranks), round(bisect_left(ranks, self._threshold) / self._threshold))

    def expire(self, now_unix_s: float) -> None:
        """Drop what has expired."""
        if now_unix_s >= self._threshold_until:
            self._threshold = 1.0
        if now_unix_s < self._expires_first_at:
            return
        for peer, record in list(self._records.items()):
            if record.expires_at_unix_s <= now_unix_s:
                del self._records[peer]
        self._by_rank = sorted(self._records, key=self._rank)
        self._ranks = [self._rank(peer) for peer in self._by_rank]
        expiries = (record.expires_at_unix_s for record in self._records.values())
        self._expires_first_at = min(expiries, default=math.inf)

    def _refuse_known(self, record: Held, known: Held) -> str:
        if record.sequence < known.sequence:
            return f"replayed: sequence {record.sequence}, and {known.sequence} is known"
        return "" if record.envelope == known.envelope else f"two records with the sequence {record.sequence}"

    def _make_room(self, rank: float, record: Held) -> bool:
        """Evict the record of highest rank, if that is not the new one."""
        rivals = self._rivals(record.origin)
        place = rivals[-1] if rivals else len(self._ranks) - 1
        worst = self._ranks[place], self._records[self._by_rank[place]]
        out_rank, out = worst if rank < worst[0] else (rank, record)
        if not rivals:
            self._threshold = min(self._threshold, out_rank)
            self._threshold_until = max(self._threshold_until, out.expires_at_unix_s)
        if out is not record:
            del self._records[out.peer], self._ranks[place], self._by_rank[place]
        return out is not record

    def _rivals(self, origin: str) -> list[int]:
        """Places, by rank, of the records that one from a network competes with; none where it competes with all."""
        if not origin:
            return []
        rivals = [place for place, peer in enumerate(self._by_rank) if self._records[peer].origin == origin]
        return rivals if len(rivals) >= self._records_max * ORIGIN_SHARE_MAX else []

    def _rank(self, peer: PeerId) -> float:
        hashed = hashlib.blake2b(peer.encode(), key=self._salt, digest_size=8).digest()
        return int.from_bytes(hashed) / 2**64
