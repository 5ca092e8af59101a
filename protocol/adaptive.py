"""The default policy: audits and votes mixed so that a target for wrong results holds (DESIGN section 8).

The design law (VALIDATION.md): a result of a peer with `a` clean results is checked with probability
q(a) = max(q_min, min(1, c / (a + 1))). A lie that is caught costs the peer its name and all its results that nobody
checked, so the worst share of wrong results, over adversaries with free identities, is f (1 - q_min) / c, where f
is the assumed share of liars. `c`, the dues, follows from the target.

Who has not paid the dues is checked by votes of independent peers: a submitter that re-executes everything has
gained nothing. Who has is checked by the coordinator itself, where its audits have room; what room is left goes to
audits of results that count already, drawn from all of them alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.chunk import Vote
from protocol.credibility import most_credible
from protocol.errors import LocalError
from protocol.planner import (
    DEFAULT_TARGET,
    VOTES_MAX,
    Target,
    check_due,
    choose_votes,
    dues_by_votes,
    vote_share_max,
    vote_worth,
)
from protocol.verification import (
    AcceptTrusted,
    AcceptVoted,
    Disputed,
    NeedCheck,
    NeedMore,
    Verdict,
    VerificationPolicy,
    WorkerRecord,
    majority,
    parse_fixed,
)


@dataclass(frozen=True, slots=True)
class Adaptive:
    """`adaptive`: as few checks as the target allows. Raises `LocalError` for a target that cannot be meant."""

    target: Target = DEFAULT_TARGET
    votes: int = 2
    """How many peers must agree where votes decide."""
    replicas: int = 1
    audits_in_background: bool = True

    def __post_init__(self) -> None:
        if problem := self.target.problem():
            raise LocalError(problem)

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return "adaptive"

    @property
    def votes_wanted(self) -> int:
        """See `votes`."""
        return self.votes

    @property
    def dues(self) -> float:
        """c: clean results after which a peer is checked only in part."""
        return dues_by_votes(self.target)

    def probability(self, record: WorkerRecord) -> float:
        """q(a), within the cap on the overhead."""
        due = check_due(self.target, record.clean, vote_worth(self.target.assume_liars))
        return min(due, vote_share_max(self.target, self.votes))

    def is_newcomer(self, record: WorkerRecord) -> bool:
        """Whether the dues are not paid yet."""
        return record.clean + 1 < self.dues

    def judge(self, votes: Sequence[Vote]) -> Verdict:
        """Taken as it is unless the draw fell on it; then votes, or an audit if its worker has paid the dues."""
        if not votes:
            return NeedMore(1)
        if len({vote.key for vote in votes}) > 1:
            return Disputed()
        drawn = [vote for vote in votes if vote.audit_drawn]
        if not drawn:
            return AcceptTrusted(votes[0].key)
        missing = self.votes - len(votes)
        if missing <= 0:
            return AcceptVoted(votes[0].key)
        return NeedMore(missing) if all(vote.newcomer for vote in drawn) else NeedCheck(missing)

    def decide(self, votes: Sequence[Vote]) -> bytes | None:
        """The most credible result once the target holds for it; after `VOTES_MAX` votes the majority."""
        key, doubt = most_credible(votes, self.target.assume_liars)
        if doubt <= self.target.max_error:
            return key
        return majority(votes, self.votes) if len(votes) >= VOTES_MAX else None

    def for_network(self, chunks: int, clean: Sequence[float], audits: float) -> "Adaptive":
        """With as many votes as this job's size and these peers' clean results ask for."""
        return replace(self, votes=choose_votes(self.target, chunks, clean, audits))


def parse_policy(text: str, target: Target = DEFAULT_TARGET) -> VerificationPolicy:
    """The policy that `text` names: `adaptive` with this target, or a plain one; raises `LocalError`."""
    return Adaptive(target) if text.strip() == "adaptive" else parse_fixed(text)
