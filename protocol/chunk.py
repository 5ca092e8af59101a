"""The life cycle of a chunk (DESIGN section 7): one table of transitions and what is known of it.

A chunk is a range of the job's items, cut once and never changed. A replica is one execution of it
by one worker. The state sums its replicas up; the decision what to do next is `job_machine`'s.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum

from protocol.errors import IllegalTransition
from protocol.ids import ChunkId, PeerId
from protocol.messages.job import FailureKind

STORY_LENGTH_MAX = 1024
"""In characters. One text, and no list of them: a job keeps its chunks, hundreds of thousands, until its end."""
NOBODY: frozenset[PeerId] = frozenset()


class ChunkState(StrEnum):
    """Where a chunk stands. The last three are final."""

    PENDING = "pending"
    LEASED = "leased"
    RUNNING = "running"
    COMMITTED = "committed"
    AUDITED = "audited"
    VOTED = "voted"
    TRUSTED = "trusted"
    ACCEPTED = "accepted"
    FAILED = "failed"
    SPLIT = "split"


class Trigger(StrEnum):
    """What can happen to a chunk."""

    ASSIGN = "assign"
    START = "start"
    COMMIT = "commit"
    WITHDRAW = "withdraw"
    """Its last vote was thrown away while replicas are still out."""
    EMPTY = "empty"
    """Neither a vote nor a replica is left."""
    AUDIT = "audit"
    VOTE = "vote"
    TRUST = "trust"
    REVOKE = "revoke"
    FINALISE = "finalise"
    GIVE_UP = "give up"
    SPLIT = "split"


_OPEN = (ChunkState.PENDING, ChunkState.LEASED, ChunkState.RUNNING, ChunkState.COMMITTED)

TRANSITIONS: dict[tuple[ChunkState, Trigger], ChunkState] = {
    (ChunkState.PENDING, Trigger.ASSIGN): ChunkState.LEASED,
    (ChunkState.LEASED, Trigger.ASSIGN): ChunkState.LEASED,
    (ChunkState.RUNNING, Trigger.ASSIGN): ChunkState.RUNNING,
    (ChunkState.COMMITTED, Trigger.ASSIGN): ChunkState.COMMITTED,
    (ChunkState.LEASED, Trigger.START): ChunkState.RUNNING,
    (ChunkState.RUNNING, Trigger.START): ChunkState.RUNNING,
    (ChunkState.COMMITTED, Trigger.START): ChunkState.COMMITTED,
    (ChunkState.PENDING, Trigger.COMMIT): ChunkState.COMMITTED,  # Handed over from an earlier run of the job.
    (ChunkState.LEASED, Trigger.COMMIT): ChunkState.COMMITTED,
    (ChunkState.RUNNING, Trigger.COMMIT): ChunkState.COMMITTED,
    (ChunkState.COMMITTED, Trigger.COMMIT): ChunkState.COMMITTED,
    (ChunkState.LEASED, Trigger.EMPTY): ChunkState.PENDING,
    (ChunkState.RUNNING, Trigger.EMPTY): ChunkState.PENDING,
    (ChunkState.COMMITTED, Trigger.EMPTY): ChunkState.PENDING,
    (ChunkState.COMMITTED, Trigger.WITHDRAW): ChunkState.LEASED,
    (ChunkState.COMMITTED, Trigger.VOTE): ChunkState.VOTED,
    (ChunkState.COMMITTED, Trigger.TRUST): ChunkState.TRUSTED,
    (ChunkState.TRUSTED, Trigger.AUDIT): ChunkState.AUDITED,
    (ChunkState.VOTED, Trigger.AUDIT): ChunkState.AUDITED,
    (ChunkState.VOTED, Trigger.REVOKE): ChunkState.COMMITTED,
    (ChunkState.TRUSTED, Trigger.REVOKE): ChunkState.COMMITTED,
    (ChunkState.AUDITED, Trigger.FINALISE): ChunkState.ACCEPTED,
    (ChunkState.VOTED, Trigger.FINALISE): ChunkState.ACCEPTED,
    (ChunkState.TRUSTED, Trigger.FINALISE): ChunkState.ACCEPTED,
    **{(state, Trigger.AUDIT): ChunkState.AUDITED for state in _OPEN},
    **{(state, Trigger.GIVE_UP): ChunkState.FAILED for state in _OPEN},
    **{(state, Trigger.SPLIT): ChunkState.SPLIT for state in _OPEN},
}

SETTLED = frozenset({ChunkState.AUDITED, ChunkState.VOTED, ChunkState.TRUSTED, ChunkState.ACCEPTED})
FINAL = frozenset({ChunkState.ACCEPTED, ChunkState.FAILED, ChunkState.SPLIT})


@dataclass(slots=True)
class Replica:
    """One execution under way."""

    assigned_at: float
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """What a worker says it keeps of an earlier run, or still runs; waited for until this moment and no longer."""

    until: float
    running: bool


@dataclass(frozen=True, slots=True)
class Vote:
    """One committed result: who gave it, the key by which results are compared, and its cost."""

    worker: PeerId
    key: bytes
    compute_s: float
    trusted: bool = False
    """Given by the coordinator's own machine."""
    audit_drawn: bool = False
    """The secret draw fell on this result, made after the commitment arrived."""
    newcomer: bool = False
    """Its worker had not paid its dues by then."""
    refused: bool = False
    """The job's own check says that it is wrong."""
    checks: float = 0.0
    """How many checks its worker had passed in this job by then."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One execution that ended without a result."""

    kind: FailureKind
    item: int
    detail: str


@dataclass(slots=True)
class Chunk:
    """Items `start` to `stop` (excluded), its replicas, votes and failures."""

    id: ChunkId
    start: int
    stop: int
    state: ChunkState = ChunkState.PENDING
    live: dict[PeerId, Replica] = field(default_factory=dict)
    votes: dict[PeerId, Vote] = field(default_factory=dict)
    failures: dict[PeerId, Failure] = field(default_factory=dict)
    lapsed: frozenset[PeerId] = NOBODY
    """Peers that kept the chunk beyond its time limit, alive but without an answer."""
    parties: dict[PeerId, str] = field(default_factory=dict)
    """The party of each peer that was given the chunk, where one could be told."""
    platforms: dict[PeerId, bytes] = field(default_factory=dict)
    """The same, of their platforms."""
    promised: dict[PeerId, Promise] = field(default_factory=dict)
    """Who is about to hand over a result of an earlier run."""
    wanted: int = 1
    """How many more results the verification asks for."""
    counted: tuple[PeerId, ...] = ()
    """For whom it has counted as clean: once each, however often it is settled."""
    audit_pending: bool = False
    audit_failed: bool = False
    """Whether our own execution has not come to its end."""
    audit_keys: list[bytes] = field(default_factory=list)
    accepted_key: bytes | None = None
    _story: str = ""

    def fire(self, trigger: Trigger, now: float) -> None:
        """Move along the table; raises `IllegalTransition` with the chunk's story."""
        after = TRANSITIONS.get((self.state, trigger))
        if after is None:
            raise IllegalTransition(f"chunk {self.id} is {self.state}: {trigger} is not allowed. Story: {self._story}")
        self._story = f"{self._story}{now:.3f} {trigger} -> {after}; "[-STORY_LENGTH_MAX:]
        self.state = after

    @property
    def count(self) -> int:
        """Number of items."""
        return self.stop - self.start

    def align(self, key: bytes, peers: Set[PeerId], keys: Set[bytes]) -> None:
        """The votes of these peers, and what counts under one of these keys, agree with the result of this key."""
        for peer in peers & self.votes.keys():
            self.votes[peer] = replace(self.votes[peer], key=key)
        if self.accepted_key in keys:
            self.accepted_key = key

    @property
    def lacking(self) -> int:
        """Replicas to hand out yet."""
        if self.state in SETTLED or self.state in FINAL:
            return 0
        return max(0, self.wanted - len(self.live) - len(self.promised))

    def may_go_to(self, peer: PeerId, party: str | None, platform: bytes | None = None) -> bool:
        """Never twice to one peer, even if it gave no answer, nor to two peers that look like one party.

        Where a platform is given, only to those who have the same as those who were first.
        """
        if any(peer in those for those in (self.live, self.votes, self.failures, self.lapsed, self.promised)):
            return False
        if platform is not None and any(platform != other for other in self._platforms_at_work()):
            return False
        return party is None or party not in self.parties.values()

    def _platforms_at_work(self) -> Iterator[bytes]:
        return (self.platforms[peer] for peer in (*self.live, *self.votes, *self.promised) if peer in self.platforms)

    def forget_party(self, peer: PeerId) -> None:
        """The peer's replica is gone; its party may be asked again."""
        self.parties.pop(peer, None)

    def check_invariants(self) -> None:
        """Raises AssertionError when the state and what is known disagree."""
        assert (self.state in SETTLED) == (self.accepted_key is not None), (self.id, self.state)
        assert not self.votes.keys() & self.live.keys(), self.id
        if self.state is ChunkState.PENDING:
            assert not self.live and not self.votes, self.id
        if self.state is ChunkState.COMMITTED:
            assert self.votes, self.id
        if self.state in FINAL:
            assert not self.live, self.id
        if self.state in SETTLED or self.state in FINAL:
            assert not self.promised, self.id
        assert not self.promised.keys() & (self.votes.keys() | self.live.keys()), self.id
