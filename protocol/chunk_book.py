"""All chunks of a job: cutting them from the items, and the indexes that keep each step cheap.

Chunks that are finally accepted, failed or split are forgotten but for their number, so that the book
holds only what is still in the balance.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from protocol.chunk import FINAL, SETTLED, Chunk, ChunkState
from protocol.ids import ChunkId, PeerId
from protocol.limits import CHUNK_INPUT_BYTES_MAX

SCAN_CHUNKS_MAX = 64
"""How many waiting chunks are looked at for one worker before a new one is cut for it."""


class ChunkBook:
    """The chunks that are open (not settled) and settled (believed, but still revocable)."""

    def __init__(self) -> None:
        self.open: dict[ChunkId, Chunk] = {}
        self.settled: dict[ChunkId, Chunk] = {}
        self.sizes_bytes: list[int] = []
        self._uncut_from = 0
        self._ahead: list[tuple[int, int]] = []
        """Ranges beyond that which are in a chunk already, sorted."""
        self._ahead_items = 0
        self._by_start: dict[int, Chunk] = {}
        self._lacking: dict[ChunkId, Chunk] = {}
        self._next_id = 0
        self._finished: Counter[ChunkState] = Counter()

    @property
    def uncut(self) -> int:
        """Items that are in no chunk yet."""
        return len(self.sizes_bytes) - self._uncut_from - self._ahead_items

    @property
    def cut_count(self) -> int:
        """Chunks that were ever cut."""
        return self._next_id

    @property
    def has_work(self) -> bool:
        """Whether a chunk lacks replicas, or items are in no chunk yet."""
        return bool(self._lacking) or self.uncut > 0

    def get(self, chunk_id: ChunkId) -> Chunk | None:
        """The chunk, unless it is finished or was never cut."""
        return self.open.get(chunk_id) or self.settled.get(chunk_id)

    def was_cut(self, chunk_id: ChunkId) -> bool:
        """Whether a chunk of this id has existed."""
        return 0 <= chunk_id < self._next_id

    def cut(self, items: int, wanted: int) -> Chunk:
        """A new chunk of at most `items` items from the front, within the limit on its bytes."""
        start, size, stop = self._uncut_from, 0, self._uncut_from
        end = min(start + items, self._ahead[0][0] if self._ahead else len(self.sizes_bytes))
        while stop < end and (stop == start or size + self.sizes_bytes[stop] <= CHUNK_INPUT_BYTES_MAX):
            size += self.sizes_bytes[stop]
            stop += 1
        self._move_on(stop)
        return self._new(start, stop, wanted)

    def cut_out(self, start: int, stop: int, wanted: int) -> Chunk | None:
        """A new chunk of exactly these items, wherever they are; None where one of them is in a chunk already."""
        place = bisect_left(self._ahead, (start, stop))
        before = self._ahead[place - 1][1] if place else self._uncut_from
        after = self._ahead[place][0] if place < len(self._ahead) else len(self.sizes_bytes)
        if not before <= start < stop <= after or sum(self.sizes_bytes[start:stop]) > CHUNK_INPUT_BYTES_MAX:
            return None
        if start == self._uncut_from:
            self._move_on(stop)
        else:
            self._ahead.insert(place, (start, stop))
            self._ahead_items += stop - start
        return self._new(start, stop, wanted)

    def of(self, start: int, stop: int) -> Chunk | None:
        """The chunk of exactly these items, unless it is finished."""
        chunk = self._by_start.get(start)
        return chunk if chunk is not None and chunk.stop == stop else None

    def _move_on(self, stop: int) -> None:
        self._uncut_from = stop
        while self._ahead and self._ahead[0][0] == self._uncut_from:
            start, self._uncut_from = self._ahead.pop(0)
            self._ahead_items -= self._uncut_from - start

    def split(self, chunk: Chunk, item: int, wanted: int) -> Chunk:
        """Part the chunk around one item, which is returned as a chunk of its own."""
        at = chunk.start + min(item, chunk.count - 1)
        if at > chunk.start:
            self._new(chunk.start, at, wanted)
        if at + 1 < chunk.stop:
            self._new(at + 1, chunk.stop, wanted)
        return self._new(at, at + 1, wanted)

    def _new(self, start: int, stop: int, wanted: int) -> Chunk:
        chunk = Chunk(ChunkId(self._next_id), start, stop, wanted=wanted)
        self._next_id += 1
        self._by_start[start] = chunk
        self.touch(chunk)
        return chunk

    def touch(self, chunk: Chunk) -> None:
        """Bring the indexes in line with the chunk after it changed."""
        for index, belongs in (
            (self.open, chunk.state not in SETTLED and chunk.state not in FINAL),
            (self.settled, chunk.state in SETTLED and chunk.state not in FINAL),
            (self._lacking, chunk.lacking > 0),
        ):
            if belongs:
                index[chunk.id] = chunk
            else:
                index.pop(chunk.id, None)
        if chunk.state in FINAL:
            self._finished[chunk.state] += 1
            if self._by_start.get(chunk.start) is chunk:
                del self._by_start[chunk.start]

    def waiting_for(self, peer: PeerId, party: str | None, platform: bytes | None) -> Chunk | None:
        """The first of the waiting chunks that may go to this peer."""
        first = islice(self._lacking.values(), SCAN_CHUNKS_MAX)
        return next((chunk for chunk in first if chunk.may_go_to(peer, party, platform)), None)

    def with_vote_of(self, peer: PeerId) -> list[Chunk]:
        """Every chunk still in the balance on which this peer has voted."""
        both = (*self.open.values(), *self.settled.values())
        return [chunk for chunk in both if peer in chunk.votes]

    def counts(self) -> dict[str, int]:
        """Number of chunks by state."""
        now = Counter(chunk.state for chunk in self._all())
        return {str(state): total for state in ChunkState if (total := now[state] + self._finished[state])}

    def check_invariants(self) -> None:
        """Raises AssertionError when an index and the chunks disagree."""
        for chunk in self._all():
            chunk.check_invariants()
            assert (chunk.id in self._lacking) == (chunk.lacking > 0), chunk.id
        assert not self.open.keys() & self.settled.keys()
        assert list(self._by_start.values()) == [c for c in self._by_start.values() if self.get(c.id) is c]
        assert self._ahead_items == sum(stop - start for start, stop in self._ahead)
        assert all(start > self._uncut_from for start, _ in self._ahead), "an item is cut twice"

    def _all(self) -> Iterator[Chunk]:
        yield from self.open.values()
        yield from self.settled.values()
