"""What the peers of one run share: the network, the story, the records, and who can be asked to let one join."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from protocol.ids import PeerId
from protocol.messages.dht import DHT_CODEC
from protocol.messages.job import JOB_CODEC
from protocol.signing import Identity
from simulations.book import Book
from simulations.network import SimulatedNetwork
from simulations.result import Row
from simulations.scenario import Scenario
from simulations.trace import Trace

STARTED_AT_UNIX_S = 1_700_000_000.0
"""Wall time of virtual second 0."""
BOOTSTRAP_PEERS_MAX = 3
_TYPE_KEY = b"dtype"
"""The key of a message's type in canonical CBOR: a text of four bytes."""
_NAMES = [str(one.__struct_config__.tag) for codec in (DHT_CODEC, JOB_CODEC) for one in codec.types]
_TYPES = {name.encode(): name for name in _NAMES}


@dataclass(slots=True)
class Traffic:
    """Messages of one type."""

    count: int = 0
    size_bytes: int = 0


class Tally:
    """Takes every message: for the story, and by type for the table."""

    def __init__(self, trace: Trace) -> None:
        self.number_of: dict[str, int] = {}
        self._trace = trace
        self._traffic: dict[tuple[str, str], Traffic] = {}
        self.sent_by: Counter[int] = Counter()

    def tap(self, sender: PeerId, receiver: PeerId, protocol: str, data: bytes) -> None:
        """See `simulations.network.Tap`."""
        number = self.number_of[sender]
        self._trace.note("send", number, self.number_of[receiver], protocol, data=data)
        self.sent_by[number] += len(data)
        for name, size_bytes in _messages(data):
            traffic = self._traffic.setdefault((protocol, name), Traffic())
            traffic.count += name != "continued"
            traffic.size_bytes += size_bytes

    def rows(self) -> list[Row]:
        """A row for each type of message."""
        return [
            {"protocol": protocol, "type": name, "count": one.count, "size_bytes": one.size_bytes}
            for (protocol, name), one in sorted(self._traffic.items())
        ]

    def count(self) -> int:
        """Messages of all types."""
        return sum(one.count for one in self._traffic.values())


def _messages(data: bytes) -> list[tuple[str, int]]:
    """Type and framed size of each message in what one call sent; the rest of a large one is `continued`."""
    found: list[tuple[str, int]] = []
    position, end = 0, len(data)
    while position < end:
        start, length, shift = position, 0, 0
        while position < end and shift < 35:
            byte = data[position]
            length |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        name = _type_of(data, position, position + length)
        if name is None:
            return [*found, ("continued", end - start)]
        position += length
        found.append((name, min(position, end) - start))
    return found


def _type_of(data: bytes, start: int, stop: int) -> str | None:
    at = data.find(_TYPE_KEY, start, stop) + len(_TYPE_KEY)
    if at < len(_TYPE_KEY) or at >= len(data):
        return None
    return _TYPES.get(data[at + 1 : at + 1 + data[at] - 0x60])


def child(seed: int, name: str) -> Random:
    """A random source of its own for each purpose: one more draw in one disturbs no other."""
    return Random(f"{seed}/{name}")


def wall_clock() -> float:
    """Unix time in a run."""
    return STARTED_AT_UNIX_S + trio.current_time()


def make_identity(seed: int, number: int, life: int = 0) -> Identity:
    """The key of a peer of a run; each `life` is another identity of the same machine."""
    return Identity(hashlib.sha256(f"{seed}/identity/{number}/{life}".encode()).digest())


class Entries:
    """Peers that run and can be dialled, with their addresses: any of them can be drawn in constant time."""

    def __init__(self) -> None:
        self._all: list[tuple[PeerId, str]] = []
        self._places: dict[PeerId, int] = {}

    def add(self, peer: PeerId, address: str) -> None:
        """One that is not here."""
        self._places[peer] = len(self._all)
        self._all.append((peer, address))

    def discard(self, peer: PeerId) -> None:
        """The last takes the place of one that leaves."""
        place = self._places.pop(peer, None)
        if place is not None:
            last = self._all.pop()
            if last[0] != peer:
                self._all[place] = last
                self._places[last[0]] = place

    def some(self, random: Random) -> list[tuple[PeerId, str]]:
        """A few peers to join through."""
        return random.sample(self._all, min(BOOTSTRAP_PEERS_MAX, len(self._all)))


@dataclass(slots=True)
class World:
    """One run's surroundings. `heals_at_s` is the virtual time at which all faults end."""

    scenario: Scenario
    seed: int
    network: SimulatedNetwork
    trace: Trace
    tally: Tally
    book: Book
    entries: Entries = field(default_factory=Entries)
    """Those who join ask some of them."""

    @property
    def heals_at_s(self) -> float:
        """When the safety phase ends."""
        return self.scenario.limits.duration_s

    def random(self, name: str) -> Random:
        """The random source for one purpose."""
        return child(self.seed, name)

    def identity(self, number: int, life: int = 0) -> Identity:
        """The key of a peer; each `life` is another identity of the same machine."""
        return make_identity(self.seed, number, life)

    def enroll(self, peer: PeerId, number: int) -> None:
        """Everybody knows this peer by this number from now on."""
        self.network.enroll(peer, number)
        self.tally.number_of[peer] = number


class ErrorWatch(logging.Handler):
    """Every error that the shipped code logs during a run is a failure of that run."""

    def __init__(self, book: Book) -> None:
        super().__init__(logging.ERROR)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        cause = f": {record.exc_info[1]!r}" if record.exc_info and record.exc_info[1] else ""
        self._book.broke("no_error_logged", f"{record.name}: {record.getMessage()}{cause}")


@contextmanager
def watched_errors(book: Book) -> Iterator[None]:
    """Errors that are logged meanwhile go into the book, and not to the terminal."""
    root, watch = logging.getLogger(), ErrorWatch(book)
    root.addHandler(watch)
    try:
        yield
    finally:
        root.removeHandler(watch)
