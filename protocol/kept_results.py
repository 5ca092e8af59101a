"""Results that a worker keeps for coordinators that vanished: whose, how many, for how long (DESIGN section 10).

The rules alone: the bytes of the results are on a shelf that the driver provides. Times are monotonic seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.limits import (
    KEPT_BYTES_MAX,
    KEPT_BYTES_PER_COORDINATOR_MAX,
    KEPT_RESULTS_LIFETIME_S,
    KEPT_RESULTS_MAX,
    KEPT_RESULTS_PER_COORDINATOR_MAX,
)
from protocol.messages.base import ChunkIdField, Digest, JobIdField, LeaseIdField, NonNegative, Part, PeerIdField
from protocol.messages.kept import HandedOut, KeptChunk
from protocol.signing import Envelope

Key = tuple[PeerId, LeaseId, ChunkId]
"""Lease ids are chosen by coordinators: two of them may choose the same."""


class KeptResult(Part, frozen=True, kw_only=True):
    """One result, without its bytes, and the commitment to it alone, made as it was kept."""

    coordinator: PeerIdField
    job: JobIdField
    lease: LeaseIdField
    chunk: ChunkIdField
    handed_out: HandedOut
    input: Digest
    environment: Digest
    result: Digest
    size_bytes: int
    compute_s: NonNegative
    log: bytes
    commitment: Envelope

    @property
    def key(self) -> Key:
        """What names it."""
        return self.coordinator, self.lease, self.chunk

    def offer(self) -> KeptChunk:
        """As its coordinator is told of it."""
        return KeptChunk(
            lease=self.lease,
            chunk=self.chunk,
            handed_out=self.handed_out,
            input=self.input,
            environment=self.environment,
            size_bytes=self.size_bytes,
        )


class KeptShelf(Protocol):
    """Where the results themselves are. Must neither block nor raise; what it loses is lost, and no more than that."""

    def load(self) -> Sequence[tuple[KeptResult, float]]:
        """What is there from before a restart, the oldest first, and how many seconds ago it was put there."""

    def put(self, kept: KeptResult, data: bytes) -> None:
        """Keep a result."""

    def get(self, kept: KeptResult) -> bytes | None:
        """Its bytes, or None where they are lost."""

    def drop(self, kept: KeptResult) -> None:
        """It is not kept any longer. Nothing happens where it is not there."""


class MemoryShelf:
    """For a worker without a journal: a restart loses all."""

    def __init__(self) -> None:
        self._data: dict[Key, bytes] = {}

    def load(self) -> Sequence[tuple[KeptResult, float]]:
        """Nothing."""
        return ()

    def put(self, kept: KeptResult, data: bytes) -> None:
        """Keep a result."""
        self._data[kept.key] = data

    def get(self, kept: KeptResult) -> bytes | None:
        """Its bytes."""
        return self._data.get(kept.key)

    def drop(self, kept: KeptResult) -> None:
        """It is not kept any longer."""
        self._data.pop(kept.key, None)


@dataclass(frozen=True, slots=True)
class KeptFor:
    """What is kept for one coordinator."""

    coordinator: PeerId
    results: int
    size_bytes: int


class KeptResults:
    """The book of them, in the order in which they were kept.

    Where one coordinator has too much, its oldest goes; where all together have, that of whoever has most: nobody can
    push out what is kept for others by having more kept.
    """

    def __init__(self, shelf: KeptShelf) -> None:
        self._shelf = shelf
        self._kept: dict[Key, KeptResult] = {}
        self._until: dict[Key, float] = {}
        """When each expires: all are kept equally long, so the first one here is the first to go."""
        self._count: dict[PeerId, int] = {}
        self._bytes: dict[PeerId, int] = {}

    def restore(self, now: float) -> None:
        """Take in what the shelf has from before a restart."""
        for kept, age_s in self._shelf.load():
            self._add(kept, now - max(0.0, age_s) + KEPT_RESULTS_LIFETIME_S)
        self.expire(now)
        self._make_room()

    def keep(self, kept: KeptResult, data: bytes, now: float) -> None:
        """One more; older ones go where there are too many. What is over its coordinator's share alone is not kept."""
        self.drop(kept.key)
        if kept.size_bytes > KEPT_BYTES_PER_COORDINATOR_MAX:
            return
        self._shelf.put(kept, data)
        self._add(kept, now + KEPT_RESULTS_LIFETIME_S)
        self._make_room()

    def drop(self, key: Key) -> None:
        """It is of no more use. Nothing happens where it is not kept."""
        if (kept := self._kept.pop(key, None)) is None:
            return
        del self._until[key]
        self._count[kept.coordinator] -= 1
        self._bytes[kept.coordinator] -= kept.size_bytes
        if not self._count[kept.coordinator]:
            del self._count[kept.coordinator], self._bytes[kept.coordinator]
        self._shelf.drop(kept)

    def expire(self, now: float) -> None:
        """Nothing is kept for longer than `KEPT_RESULTS_LIFETIME_S`."""
        while self.next_deadline() <= now:
            self.drop(next(iter(self._until)))

    def next_deadline(self) -> float:
        """When the first of them expires; infinity where none is kept."""
        return next(iter(self._until.values()), inf)

    # Questions.

    def get(self, key: Key) -> tuple[KeptResult, bytes] | None:
        """A result and its bytes; None where it is not kept, or its bytes are lost, which ends it."""
        if (kept := self._kept.get(key)) is None:
            return None
        if (data := self._shelf.get(kept)) is None:
            self.drop(key)
            return None
        return kept, data

    def of(self, coordinator: PeerId, job: JobId) -> list[KeptResult]:
        """What is kept for a job of this coordinator, the oldest first."""
        return [one for one in self._kept.values() if (one.coordinator, one.job) == (coordinator, job)]

    def of_lease(self, coordinator: PeerId, lease: LeaseId) -> list[Key]:
        """What is kept of one lease of this coordinator."""
        return [key for key in self._kept if key[:2] == (coordinator, lease)]

    def leases(self) -> Iterator[tuple[LeaseId, JobId, PeerId]]:
        """The leases that results are kept of, each once, with job and coordinator."""
        yield from sorted({(one.lease, one.job, one.coordinator) for one in self._kept.values()})

    def sums(self) -> list[KeptFor]:
        """For whom how much is kept, by coordinator."""
        return [KeptFor(peer, count, self._bytes[peer]) for peer, count in sorted(self._count.items())]

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree, or more is kept than may be."""
        assert self._kept.keys() == self._until.keys()
        for peer, count in self._count.items():
            mine = [one for one in self._kept.values() if one.coordinator == peer]
            assert count == len(mine) and self._bytes[peer] == sum(one.size_bytes for one in mine)
            assert 0 < count <= KEPT_RESULTS_PER_COORDINATOR_MAX
            assert self._bytes[peer] <= KEPT_BYTES_PER_COORDINATOR_MAX
        assert len(self._kept) == sum(self._count.values()) <= KEPT_RESULTS_MAX
        assert sum(self._bytes.values()) <= KEPT_BYTES_MAX

    # Keeping within the limits.

    def _add(self, kept: KeptResult, until: float) -> None:
        self._kept[kept.key] = kept
        self._until[kept.key] = until
        self._count[kept.coordinator] = self._count.get(kept.coordinator, 0) + 1
        self._bytes[kept.coordinator] = self._bytes.get(kept.coordinator, 0) + kept.size_bytes

    def _make_room(self) -> None:
        while (peer := self._over_their_share() or self._over_in_all()) is not None:
            self.drop(next(key for key, one in self._kept.items() if one.coordinator == peer))

    def _over_their_share(self) -> PeerId | None:
        over = (
            peer
            for peer, count in self._count.items()
            if count > KEPT_RESULTS_PER_COORDINATOR_MAX or self._bytes[peer] > KEPT_BYTES_PER_COORDINATOR_MAX
        )
        return min(over, default=None)

    def _over_in_all(self) -> PeerId | None:
        if len(self._kept) > KEPT_RESULTS_MAX:
            return max(self._count, key=lambda peer: (self._count[peer], peer))
        if sum(self._bytes.values()) > KEPT_BYTES_MAX:
            return max(self._bytes, key=lambda peer: (self._bytes[peer], peer))
        return None
