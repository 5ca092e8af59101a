"""Verification: what the results at hand are worth (DESIGN section 8). Pure functions of votes.

A policy judges a chunk's votes and says how likely a new result is to be audited; the draw itself is
made elsewhere, in secret and after the commitment. The default policy, `adaptive`, has a file of its own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from protocol.chunk import Vote
from protocol.errors import LocalError

QUORUM_MAX = 16


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What this coordinator knows of a worker from its own checks."""

    clean: float = 0
    """Its results in a row that count and of which none was found wrong; those of earlier jobs fade with age."""


@dataclass(frozen=True, slots=True)
class AcceptVoted:
    """Enough independent peers agree on this key."""

    key: bytes


@dataclass(frozen=True, slots=True)
class AcceptTrusted:
    """Taken for now without a check of its own; a lie caught elsewhere revokes it."""

    key: bytes


@dataclass(frozen=True, slots=True)
class NeedMore:
    """More replicas, on peers that have not had the chunk."""

    count: int


@dataclass(frozen=True, slots=True)
class NeedCheck:
    """The secret draw fell on one of the results: an audit if the coordinator has room, else so many more votes."""

    votes: int


@dataclass(frozen=True, slots=True)
class NeedAudit:
    """The secret draw fell on one of the results."""


@dataclass(frozen=True, slots=True)
class Disputed:
    """Results differ: somebody lies, or the function is not deterministic."""


Verdict = AcceptVoted | AcceptTrusted | NeedMore | NeedCheck | NeedAudit | Disputed


class VerificationPolicy(Protocol):
    """How results come to be believed."""

    @property
    def name(self) -> str:
        """As the user wrote it."""

    @property
    def replicas(self) -> int:
        """How many results a chunk needs at first."""

    @property
    def votes_wanted(self) -> int:
        """How many peers must agree where votes decide; 1 where none do."""

    @property
    def audits_in_background(self) -> bool:
        """Whether results that count already are audited as well, and earn their workers trust if they stand."""

    def probability(self, record: WorkerRecord) -> float:
        """The probability that a new result of this worker is checked."""

    def is_newcomer(self, record: WorkerRecord) -> bool:
        """Whether the worker's dues are not paid yet."""

    def for_network(self, chunks: int, clean: Sequence[float], audits: float) -> "VerificationPolicy":
        """The same policy, fitted to a job of so many chunks on workers with so many clean results each.

        `audits` is how many audits in the background the coordinator has room for.
        """

    def judge(self, votes: Sequence[Vote]) -> Verdict:
        """What to do about a chunk with these votes, none of them by the coordinator itself."""

    def decide(self, votes: Sequence[Vote]) -> bytes | None:
        """Which of these differing results counts where the coordinator cannot execute; None for one more vote."""


class _Fixed:
    """A policy that treats all workers and jobs alike."""

    __slots__ = ()
    audits_in_background = False
    votes_wanted = 1
    replicas: int

    def decide(self, votes: Sequence[Vote]) -> bytes | None:
        """The majority does."""
        return majority(votes, max(2, self.replicas))

    def is_newcomer(self, record: WorkerRecord) -> bool:
        """Nobody is."""
        return False

    def for_network(self, chunks: int, clean: Sequence[float], audits: float) -> Self:
        """Nothing changes."""
        return self


@dataclass(frozen=True, slots=True)
class NoVerification(_Fixed):
    """`none`: every result is believed. For measuring, and for one's own machines."""

    name: str = "none"
    replicas: int = 1

    def probability(self, record: WorkerRecord) -> float:
        """Never."""
        return 0.0

    def judge(self, votes: Sequence[Vote]) -> Verdict:
        """The first result is taken."""
        return AcceptTrusted(votes[0].key) if votes else NeedMore(1)


@dataclass(frozen=True, slots=True)
class Quorum(_Fixed):
    """`quorum:N`: N independent peers must agree; when they differ the coordinator settles it."""

    replicas: int

    @property
    def votes_wanted(self) -> int:  # type: ignore[override]
        """All of them."""
        return self.replicas

    @property
    def name(self) -> str:
        """`quorum:N`."""
        return f"quorum:{self.replicas}"

    def probability(self, record: WorkerRecord) -> float:
        """Votes carry the load."""
        return 0.0

    def judge(self, votes: Sequence[Vote]) -> Verdict:
        """Agreement of N, with no more than a minority against it, decides."""
        groups = Counter(vote.key for vote in votes).most_common()
        if len(groups) > 1:
            return Disputed()
        agreeing = groups[0][1] if groups else 0
        return AcceptVoted(groups[0][0]) if agreeing >= self.replicas else NeedMore(self.replicas - agreeing)


@dataclass(frozen=True, slots=True)
class Audit(_Fixed):
    """`audit:RATE`: one result is enough; the coordinator re-executes a secret sample of them."""

    rate: float
    replicas: int = 1

    @property
    def name(self) -> str:
        """`audit:RATE`."""
        return f"audit:{self.rate:g}"

    def probability(self, record: WorkerRecord) -> float:
        """The same for everybody."""
        return self.rate

    def judge(self, votes: Sequence[Vote]) -> Verdict:
        """The first result is taken unless the draw fell on it."""
        if not votes:
            return NeedMore(1)
        if len({vote.key for vote in votes}) > 1:
            return Disputed()
        return NeedAudit() if any(vote.audit_drawn for vote in votes) else AcceptTrusted(votes[0].key)


def majority(votes: Sequence[Vote], quorum: int) -> bytes | None:
    """The key that more than half of the votes and at least `quorum` of them agree on, if there is one.

    For a coordinator that cannot run the chunk itself and must settle a dispute by more votes.
    """
    if not votes:
        return None
    key, count = sorted(Counter(vote.key for vote in votes).items(), key=lambda one: (-one[1], one[0]))[0]
    return key if count >= quorum and 2 * count > len(votes) else None


def parse_fixed(text: str) -> VerificationPolicy:
    """A policy from `none`, `quorum:N` or `audit:RATE`; raises `LocalError` with the right form."""
    kind, _, value = text.strip().partition(":")
    try:
        if kind == "none" and not value:
            return NoVerification()
        if kind == "quorum" and 2 <= int(value) <= QUORUM_MAX:
            return Quorum(int(value))
        if kind == "audit" and 0.0 < float(value) <= 1.0:
            return Audit(float(value))
    except ValueError:
        pass
    raise LocalError(
        f"verification {text!r} is not known: use adaptive, none, quorum:N (N from 2 to {QUORUM_MAX}) "
        "or audit:RATE (RATE above 0 and up to 1, for example audit:0.1)"
    )
