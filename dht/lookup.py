"""The iterative lookup as a pure iterator (after rust-libp2p's `closest.rs` and `closest/disjoint.rs`).

The driver calls `next(now)` and does what it says: ask a contact, wait, or take the result; it feeds
back every answer and every failure. Each path keeps the closest candidates that it has heard of, and
asks the nearest first. A contact is asked by one path only, and what it answers is seen by that path
only, so a hostile contact can spoil one path, not both. The result is the closest contacts that
answered on any path.

The window slides: a path has at most its share of the concurrency outstanding, and all `count` once it
gets no closer. A contact that has not answered for `stall_s` leaves the window and the candidates, so it
holds up nobody; its answer is still welcome while the lookup lasts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kademlia.node import Node

from dht.buckets import CandidateHeap, TableNode
from dht.keys import distance
from protocol.errors import LocalError
from protocol.ids import PeerId, node_id_of
from protocol.limits import BUCKET_SIZE, LOOKUP_CONCURRENCY, LOOKUP_PATHS
from protocol.messages.dht import Contact

STALL_S = 1.0
REQUESTS_PER_LOOKUP_MAX = 200


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the request of this lookup to a contact."""

    contact: Contact


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to ask now: call `next` again after an answer or a failure, or at this time."""

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
    node: TableNode
    path: int
    stalls_at: float
    state: State = State.WAITING


@dataclass(slots=True)
class _Path:
    heap: CandidateHeap
    waiting: set[bytes] = field(default_factory=set)
    useless_answers: int = 0


class Lookup:
    """One lookup of `target`, starting from `seeds` (dealt to the paths in turn, closest first)."""

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
        self._target = Node(target)
        self._own = own
        self._count = count
        self._window = max(1, concurrency // paths)
        self._stall_s = stall_s
        self._requests_max = requests_max
        self._asked: dict[bytes, _Asked] = {}
        self._turn = 0
        self._paths = [_Path(CandidateHeap(self._target, count)) for _ in range(paths)]
        self._share_contacted()
        distinct = {node_id_of(contact.peer): contact for contact in seeds}
        nearest = sorted(distinct.values(), key=lambda contact: distance(target, node_id_of(contact.peer)))
        for index, path in enumerate(self._paths):
            self._learn(path, nearest[index::paths])

    def next(self, now: float) -> Ask | Wait | Finished:
        """What to do now. Asking counts: each `Ask` must be followed by `on_success` or `on_failure`."""
        self._mark_stalled(now)
        for offset in range(len(self._paths)):
            index = (self._turn + offset) % len(self._paths)
            node = self._next_candidate(self._paths[index])
            if node is not None:
                self._turn = index + 1
                return self._ask(index, node, now)
        if any(self._must_wait(path) for path in self._paths):
            return Wait(min(asked.stalls_at for asked in self._asked.values() if asked.state is State.WAITING))
        return Finished(self.closest())

    def on_success(self, peer: PeerId, contacts: Sequence[Contact], now: float) -> None:
        """A contact answered, with these contacts. `now` is not used yet: answers do not age."""
        asked = self._settle(peer, State.ANSWERED)
        path = self._paths[asked.path]
        before = path.heap.nearest()
        self._learn(path, contacts)
        nearest = path.heap.nearest()
        closer = nearest is not None and (before is None or self._distance(nearest) < self._distance(before))
        path.useless_answers = 0 if closer else path.useless_answers + 1

    def on_failure(self, peer: PeerId, now: float) -> None:
        """A contact could not be asked, did not answer in time, or broke the protocol."""
        asked = self._settle(peer, State.FAILED)
        self._paths[asked.path].useless_answers += 1

    def closest(self) -> tuple[Contact, ...]:
        """The closest contacts that have answered so far, closest first."""
        nodes = [asked.node for asked in self._asked.values() if asked.state is State.ANSWERED]
        return tuple(node.contact for node in sorted(nodes, key=self._distance)[: self._count])

    @property
    def requests(self) -> int:
        """How many contacts were asked."""
        return len(self._asked)

    def used_by(self, path: int) -> list[Contact]:
        """The contacts that a path asked, in that order."""
        return [asked.node.contact for asked in self._asked.values() if asked.path == path]

    def state_of(self, peer: PeerId) -> State | None:
        """What became of a contact, or None when it was not asked."""
        asked = self._asked.get(node_id_of(peer))
        return asked.state if asked else None

    def _distance(self, node: TableNode) -> int:
        return distance(self._target.id, node.id)

    def _share_contacted(self) -> None:
        shared: set[bytes] = set()
        for path in self._paths:
            path.heap.contacted = shared

    def _learn(self, path: _Path, contacts: Sequence[Contact]) -> None:
        for node in map(TableNode, contacts):
            asked = self._asked.get(node.id)
            gone = asked is not None and asked.state in (State.FAILED, State.STALLED)
            if not gone and node.contact.peer != self._own:
                path.heap.push([node])

    def _next_candidate(self, path: _Path) -> TableNode | None:
        window = self._window if path.useless_answers < self._window else self._count
        if len(path.waiting) >= window or len(self._asked) >= self._requests_max:
            return None
        uncontacted: list[TableNode] = path.heap.get_uncontacted()
        return uncontacted[0] if uncontacted else None

    def _must_wait(self, path: _Path) -> bool:
        if path.waiting and len(self._asked) < self._requests_max and path.heap.get_uncontacted():
            return True
        asked = (self._asked.get(node.id) for node in path.heap)
        return any(one is not None and one.state is State.WAITING for one in asked)

    def _ask(self, index: int, node: TableNode, now: float) -> Ask:
        path = self._paths[index]
        path.heap.mark_contacted(node)
        path.waiting.add(node.id)
        self._asked[node.id] = _Asked(node, index, now + self._stall_s)
        return Ask(node.contact)

    def _mark_stalled(self, now: float) -> None:
        stalled = [asked for asked in self._asked.values() if asked.state is State.WAITING and asked.stalls_at <= now]
        for asked in stalled:
            self._drop(asked, State.STALLED)
            self._paths[asked.path].useless_answers += 1

    def _settle(self, peer: PeerId, state: State) -> _Asked:
        asked = self._asked.get(node_id_of(peer))
        if asked is None or asked.state in (State.ANSWERED, State.FAILED):
            raise LocalError(f"an answer of {peer}, which is {asked.state if asked else 'not asked'}, in a lookup")
        if state is State.FAILED:
            self._drop(asked, state)
            return asked
        path = self._paths[asked.path]
        path.waiting.discard(asked.node.id)
        if asked.state is State.STALLED:
            path.heap.restore(asked.node)
        asked.state = state
        return asked

    def _drop(self, asked: _Asked, state: State) -> None:
        asked.state = state
        self._paths[asked.path].waiting.discard(asked.node.id)
        for path in self._paths:
            path.heap.remove([asked.node.id])
