"""The iterative lookup as a pure iterator (after rust-libp2p's `closest.rs` and `closest/disjoint.rs`).

The driver calls `next(now)` and does what it says: ask a contact, wait, or take the result; it feeds
back every answer and every failure. Each path keeps the closest candidates that it has heard of, and
asks the nearest first. A contact is asked by one path only, and what it answers is seen by that path
only, so a hostile contact can spoil one path, not both. The result is the closest contacts that
answered on any path.

The window slides: a path has at most its share of the concurrency outstanding, and all `count` once it
gets no closer. A contact that has not answered for `stall_s` leaves the window and the candidates, so it
holds up nobody; its answer is still welcome while the lookup lasts. While nobody at all has answered, there is
nothing to give, and the lookup waits for those who may yet.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dht.patience import STALL_S
from protocol.errors import LocalError
from protocol.ids import PeerId, node_number_of
from protocol.limits import BUCKET_SIZE, LOOKUP_CONCURRENCY, LOOKUP_PATHS
from protocol.messages.dht import Contact

REQUESTS_PER_LOOKUP_MAX = 200
CANDIDATES_PER_RESULT_MAX = 8
"""How many candidates a path keeps for each contact that is looked for: spare ones for those that fail."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the request of this lookup to a contact."""

    contact: Contact


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to ask now: call `next` again after an answer or a failure, or at this time (may be infinite)."""

    until: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The closest contacts that answered, closest first."""

    closest: tuple[Contact, ...]


class State(StrEnum):
    """What became of a candidate that was asked."""

    WAITING = "waiting"
    STALLED = "stalled"
    ANSWERED = "answered"
    FAILED = "failed"


@dataclass(slots=True)
class _Asked:
    contact: Contact
    path: int
    stalls_at: float
    state: State = State.WAITING


@dataclass(slots=True)
class _Path:
    """One path's candidates: their distances, sorted. `known` has all that it has ever heard of."""

    near: list[int] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    waiting: int = 0
    useless_answers: int = 0


class Lookup:
    """One lookup of `target`, starting from `seeds` (dealt to the paths in turn, closest first).

    A contact is known by its distance to the target in here: ids differ, so distances do.
    """

    def __init__(
        self,
        target: bytes,
        seeds: Sequence[Contact],
        *,
        own: PeerId | None = None,
        count: int = BUCKET_SIZE,
        concurrency: int = LOOKUP_CONCURRENCY,
        paths: int = LOOKUP_PATHS,
        stall_s: float = STALL_S,
        requests_max: int = REQUESTS_PER_LOOKUP_MAX,
    ) -> None:
        self._target = int.from_bytes(target)
        self._own = own
        self._count = count
        self._window = max(1, concurrency // paths)
        self._stall_s = stall_s
        self._requests_max = requests_max
        self._contacts: dict[int, Contact] = {}
        self._asked: dict[int, _Asked] = {}
        self._waiting: dict[int, _Asked] = {}
        """Those of `_asked` that are waited for, in the order in which they will stall."""
        self._stalled = 0
        self._answered = 0
        self._turn = 0
        self._paths = [_Path() for _ in range(paths)]
        distinct = {node_number_of(contact.peer) ^ self._target: contact for contact in seeds}
        nearest = [distinct[distance] for distance in sorted(distinct)]
        for index, path in enumerate(self._paths):
            self._learn(path, nearest[index::paths])

    def next(self, now: float) -> Ask | Wait | Finished:
        """What to do now. Asking counts: each `Ask` must be followed by `on_success` or `on_failure`."""
        self._mark_stalled(now)
        if len(self._asked) < self._requests_max:
            for offset in range(len(self._paths)):
                index = (self._turn + offset) % len(self._paths)
                distance = self._next_candidate(self._paths[index])
                if distance is not None:
                    self._turn = index + 1
                    return self._ask(index, distance, now)
        if any(self._must_wait(path) for path in self._paths):
            return Wait(next(iter(self._waiting.values())).stalls_at)
        if self._stalled and not self._answered:
            return Wait(math.inf)
        return Finished(self.closest())

    def on_success(self, peer: PeerId, contacts: Sequence[Contact], now: float) -> None:
        """A contact answered, with these contacts. `now` is not used yet: answers do not age."""
        asked = self._settle(peer, State.ANSWERED)
        path = self._paths[asked.path]
        before = path.near[0] if path.near else None
        self._learn(path, contacts)
        closer = bool(path.near) and (before is None or path.near[0] < before)
        path.useless_answers = 0 if closer else path.useless_answers + 1

    def on_failure(self, peer: PeerId, now: float) -> None:
        """A contact could not be asked, did not answer in time, or broke the protocol."""
        asked = self._settle(peer, State.FAILED)
        self._paths[asked.path].useless_answers += 1

    def closest(self) -> tuple[Contact, ...]:
        """The closest contacts that have answered so far, closest first."""
        answered = sorted(distance for distance, asked in self._asked.items() if asked.state is State.ANSWERED)
        return tuple(self._contacts[distance] for distance in answered[: self._count])

    @property
    def requests(self) -> int:
        """How many contacts were asked."""
        return len(self._asked)

    def used_by(self, path: int) -> list[Contact]:
        """The contacts that a path asked, in that order."""
        return [asked.contact for asked in self._asked.values() if asked.path == path]

    def state_of(self, peer: PeerId) -> State | None:
        """What became of a contact, or None when it was not asked."""
        asked = self._asked.get(node_number_of(peer) ^ self._target)
        return asked.state if asked else None

    def _learn(self, path: _Path, contacts: Sequence[Contact]) -> None:
        target, known = self._target, path.known
        for contact in contacts:
            distance = node_number_of(contact.peer) ^ target
            if distance in known or contact.peer == self._own:
                continue
            asked = self._asked.get(distance)
            if asked is None or asked.state not in (State.FAILED, State.STALLED):
                self._contacts.setdefault(distance, contact)
                self._add(path, distance)

    def _add(self, path: _Path, distance: int) -> None:
        path.known.add(distance)
        path.near.insert(bisect_left(path.near, distance), distance)
        if len(path.near) > CANDIDATES_PER_RESULT_MAX * self._count:
            path.near.pop()

    def _next_candidate(self, path: _Path) -> int | None:
        window = self._window if path.useless_answers < self._window else self._count
        return self._unasked(path) if path.waiting < window else None

    def _unasked(self, path: _Path) -> int | None:
        """The nearest candidate of a path that nobody has asked, among the nearest that it looks for."""
        for distance in path.near[: self._count]:
            if distance not in self._asked:
                return distance
        return None

    def _must_wait(self, path: _Path) -> bool:
        if path.waiting and len(self._asked) < self._requests_max and self._unasked(path) is not None:
            return True
        return any(distance in self._waiting for distance in path.near[: self._count])

    def _ask(self, index: int, distance: int, now: float) -> Ask:
        contact = self._contacts[distance]
        self._paths[index].waiting += 1
        self._asked[distance] = self._waiting[distance] = _Asked(contact, index, now + self._stall_s)
        return Ask(contact)

    def _mark_stalled(self, now: float) -> None:
        while self._waiting:
            distance, asked = next(iter(self._waiting.items()))
            if asked.stalls_at > now:
                break
            self._drop(distance, asked, State.STALLED)
            self._stalled += 1
            self._paths[asked.path].useless_answers += 1

    def _settle(self, peer: PeerId, state: State) -> _Asked:
        distance = node_number_of(peer) ^ self._target
        asked = self._asked.get(distance)
        if asked is None or asked.state in (State.ANSWERED, State.FAILED):
            raise LocalError(f"an answer of {peer}, which is {asked.state if asked else 'not asked'}, in a lookup")
        self._stalled -= asked.state is State.STALLED
        if state is State.FAILED:
            self._drop(distance, asked, state)
            return asked
        self._answered += 1
        if asked.state is State.STALLED:
            self._add(self._paths[asked.path], distance)
        self._no_longer_waiting(distance, asked)
        asked.state = state
        return asked

    def _drop(self, distance: int, asked: _Asked, state: State) -> None:
        self._no_longer_waiting(distance, asked)
        asked.state = state
        for path in self._paths:
            place = bisect_left(path.near, distance)
            if place < len(path.near) and path.near[place] == distance:
                del path.near[place]

    def _no_longer_waiting(self, distance: int, asked: _Asked) -> None:
        if self._waiting.pop(distance, None) is not None:
            self._paths[asked.path].waiting -= 1
