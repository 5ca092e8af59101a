"""The workers of a job as its coordinator sees them: what each holds and what each has done."""

from dataclasses import dataclass, field

from protocol.ids import ChunkId, PeerId
from protocol.job_events import WorkerReady
from protocol.limits import HEARTBEAT_INTERVAL_S, HEARTBEATS_MISSED_MAX
from protocol.planner import vote_worth
from protocol.verification import WorkerRecord

SILENCE_S_MAX = HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED_MAX


@dataclass(slots=True)
class Tally:
    """What a worker has done in this job; kept after it has left."""

    chunks: int = 0
    items: int = 0
    compute_s: float = 0.0
    failures: int = 0
    audits: int = 0
    revoked: int = 0
    credits: float = 0.0
    price: float = 0.0
    clean: float = 0
    """Results that count and of which none was found wrong; see `WorkerRecord`."""
    clean_before: float = 0
    """Those it had before this job."""
    introduced: bool = False
    """Somebody known speaks for it, which halves its dues."""
    agreed: int = 0
    """Its results that another peer's agreed with, where votes decided."""
    handed_over: int = 0
    """Of its chunks, those that it had kept from an earlier run of the job."""
    left: str | None = None
    banned: str | None = None
    lied: bool = False

    @property
    def record(self) -> WorkerRecord:
        """What the verification policy asks for."""
        return WorkerRecord(clean=self.worth(self.clean))

    def checks_passed(self, liars: float) -> float:
        """Executions of our own that confirmed it, and votes for what those are worth."""
        return self.audits + self.agreed * vote_worth(liars)

    def worth(self, clean: float) -> float:
        """What so many clean results are worth for the schedule: c / (2 a + 2) is half of what is due otherwise."""
        return 2 * clean + 1 if self.introduced else clean


@dataclass(slots=True)
class WorkerState:
    """A worker that holds a lease, or the local machine."""

    offer: WorkerReady
    last_heard: float
    last_result_at: float
    outstanding: dict[ChunkId, float] = field(default_factory=dict)
    """Chunks with the worker in the order in which it runs them, and when each was given; see `WorkerBook.give`."""

    @property
    def level(self) -> int:
        """How many chunks each of its slots holds at least."""
        return len(self.outstanding) // self.offer.slots

    @property
    def peer(self) -> PeerId:
        """Who it is."""
        return self.offer.peer

    def room(self, depth: int) -> int:
        """How many more chunks it may hold when each slot holds `depth`."""
        return min(self.offer.chunk_credit, self.offer.slots * depth) - len(self.outstanding)

    def since(self, place: int, chunk: ChunkId) -> float | None:
        """When the chunk at this place of the queue began to run, at the earliest; None while it queues."""
        return max(self.outstanding[chunk], self.last_result_at) if place < self.offer.slots else None

    @property
    def silent_at(self) -> float:
        """When its silence counts as its end; never for the local machine."""
        return float("inf") if self.offer.local else self.last_heard + SILENCE_S_MAX


class WorkerBook:
    """Workers at work, and the tallies of all that ever took part."""

    def __init__(self) -> None:
        self.active: dict[PeerId, WorkerState] = {}
        self.tallies: dict[PeerId, Tally] = {}
        self.offers: dict[PeerId, WorkerReady] = {}
        """The last terms of each worker that ever took part."""
        self.overdue_from = float("inf")
        """Nobody counts as gone before: looking at all workers at each event would be most of the work."""
        self._slots = 0
        self._levels: dict[int, dict[PeerId, WorkerState]] = {}
        """Those at work by their level, for the same reason: nearly all hold as much as they should."""

    def add(self, offer: WorkerReady, now: float) -> None:
        """The worker takes part from now on."""
        self._forget(offer.peer)
        self.active[offer.peer] = state = WorkerState(offer, last_heard=now, last_result_at=now)
        self._levels.setdefault(state.level, {})[offer.peer] = state
        self._slots += offer.slots
        self.overdue_from = min(self.overdue_from, now + SILENCE_S_MAX)
        self.offers[offer.peer] = offer
        new = Tally(clean=offer.clean, clean_before=offer.clean, introduced=offer.introduced)
        tally = self.tallies.setdefault(offer.peer, new)
        tally.left, tally.introduced = None, tally.introduced or offer.introduced

    def know(self, offer: WorkerReady) -> None:
        """The worker takes no part in this run, or not yet, but has something of an earlier one, on these terms."""
        if offer.peer not in self.active:
            self.offers[offer.peer] = offer
        new = Tally(clean=offer.clean, clean_before=offer.clean, left="it only handed over what it had kept")
        self.tallies.setdefault(offer.peer, new)

    def remove(self, peer: PeerId, reason: str) -> WorkerState | None:
        """The worker no longer takes part; None when it did not."""
        state = self._forget(peer)
        if state is not None:
            self.tallies[peer].left = reason
        return state

    def _forget(self, peer: PeerId) -> WorkerState | None:
        state = self.active.pop(peer, None)
        if state is not None:
            self._slots -= state.offer.slots
            self._leave_level(state)
        return state

    def _leave_level(self, state: WorkerState) -> None:
        level = self._levels[state.level]
        del level[state.peer]
        if not level:
            del self._levels[state.level]

    def give(self, state: WorkerState, chunk: ChunkId, now: float) -> None:
        """The worker has the chunk from now on, behind those that it has."""
        self._leave_level(state)
        state.outstanding[chunk] = now
        self._levels.setdefault(state.level, {})[state.peer] = state

    def take(self, state: WorkerState, chunk: ChunkId) -> None:
        """The worker no longer has the chunk. Idempotent."""
        self._leave_level(state)
        state.outstanding.pop(chunk, None)
        self._levels.setdefault(state.level, {})[state.peer] = state

    @property
    def slots(self) -> int:
        """Slots of all workers together, at least one."""
        return max(1, self._slots)

    def by_load(self, depth: int) -> list[WorkerState]:
        """Those with room when each slot holds `depth` chunks, least loaded first; ties by speed, then by peer id."""
        return sorted(
            (
                state
                for level, states in self._levels.items()
                if level < depth
                for state in states.values()
                if state.room(depth) > 0
            ),
            key=lambda state: (len(state.outstanding) / state.offer.slots, -state.offer.speed, state.peer),
        )

    def check_invariants(self) -> None:
        """Raises AssertionError when what is kept to be fast disagrees with the workers."""
        assert self._slots == sum(state.offer.slots for state in self.active.values())
        assert {peer: state for states in self._levels.values() for peer, state in states.items()} == self.active
        assert all(state.level == level for level, states in self._levels.items() for state in states.values())

    def clean_at_start(self) -> list[float]:
        """What the clean results that each worker brought along are worth, the local machine left out."""
        tallies = [self.tallies[peer] for peer, state in self.active.items() if not state.offer.local]
        return [tally.worth(tally.clean_before) for tally in tallies]

    def banned(self, peer: PeerId) -> bool:
        """Whether it was caught in this job."""
        return peer in self.tallies and self.tallies[peer].banned is not None
