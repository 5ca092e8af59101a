"""What a target for wrong results costs, and what it can be worth (DESIGN section 8, VALIDATION F2 to F4).

Pure figures, used three times: to choose the number of votes, for the plan before a job, and for the bound that
was reached after it. Every bound holds against liars who agree with each other and choose their moments.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

AUDIT_MIN = 0.02
"""q_min: even a peer of long standing has this share of its results checked."""
VOTES_MAX = 8
MAX_ERROR = 1e-3
MAX_OVERHEAD = 2.0
ASSUME_LIARS = 0.2
AUDIT_SHARE = 0.25
AUDITS_OF_OVERHEAD = 0.1
"""Of the overhead above one execution, the part that audits in the background may use; the rest is for votes."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the user asks for and assumes."""

    max_error: float = MAX_ERROR
    """The share of wrong results among those accepted, at most."""
    max_overhead: float = MAX_OVERHEAD
    """Executions per chunk in an honest network, at most."""
    assume_liars: float = ASSUME_LIARS
    """f: the share of the peers that lie, all together where they can."""
    audit_share: float = AUDIT_SHARE
    """How much of the submitter's own slots audits may use."""

    def problem(self) -> str | None:
        """What is wrong with it, in words."""
        if not 0 < self.max_error < 1:
            return f"max-error {self.max_error:g} is no share of wrong results: use one between 0 and 1, such as 1e-3"
        if not 1 <= self.max_overhead <= VOTES_MAX:
            return f"max-overhead {self.max_overhead:g} is out of range: use 1 to {VOTES_MAX} executions per chunk"
        if not 0 < self.assume_liars < 0.5:
            return f"assume-liars {self.assume_liars:g} is out of range: use a share above 0 and below 0.5"
        if not 0 <= self.audit_share <= 1:
            return f"audit-share {self.audit_share:g} is out of range: use 0 % to 100 %"
        return None


DEFAULT_TARGET = Target()


@dataclass(frozen=True, slots=True)
class Singles:
    """Results of one worker that count on its word, or on the law by which it is checked."""

    count: float
    checks: float
    """Checks of its other results, drawn from all of them alike, which a lie would not have passed."""
    lawful: bool
    """Whether it was checked as often as the design law asks: `count` may have results that a vote has checked, since
    the law bounds the wrong ones among all of a peer's."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How the results of a job were checked, or will be: what a bound needs to know."""

    chunks: int
    voted: int
    """Chunks that votes decided and no execution of one's own, with no lawful worker among the voters."""
    audits: int
    """Chunks, drawn alike from all that count, that one's own execution confirmed."""
    votes: int
    workers: int
    singles: tuple[Singles, ...]


def dues_for(target: Target, worth: float = 1.0) -> float:
    """c, so that f (1 - q_min) / c is the target. `worth`: the probability that a check finds a lie."""
    return target.assume_liars * (1 - AUDIT_MIN) / target.max_error / worth


def dues_by_votes(target: Target) -> float:
    """c where a check may be a vote of another peer, as it is where one's own audits have no room."""
    return dues_for(target, vote_worth(target.assume_liars))


def check_due(target: Target, clean: float, worth: float = 1.0) -> float:
    """q(a): the share of the results of a peer with `clean` ones that the design law asks to check."""
    return max(AUDIT_MIN, min(1.0, dues_for(target, worth) / (clean + 1)))


def is_lawful(target: Target, clean: float, votes: int) -> bool:
    """Whether the law bounds what a peer with so many clean results gets through.

    It must have paid its dues, since a vote is no certain check of a newcomer that lies at once; and it must be checked
    as often as the law asks, which the cap on the overhead may not allow.
    """
    due = check_due(target, clean, vote_worth(target.assume_liars))
    return votes > 1 and clean + 1 >= dues_by_votes(target) and due <= vote_share_max(target, votes)


def vote_share_max(target: Target, votes: int) -> float:
    """The overhead cap allows votes on no larger share of the results than this."""
    return min(1.0, (target.max_overhead - 1) * (1 - AUDITS_OF_OVERHEAD) / (votes - 1))


def audit_share_max(target: Target) -> float:
    """The overhead cap allows audits in the background of no larger share of the results than this."""
    return (target.max_overhead - 1) * AUDITS_OF_OVERHEAD


def vote_worth(liars: float) -> float:
    """A vote finds a lie unless the other voter is a liar too: so much of a check by oneself is it worth."""
    return 1 - liars


def error_bound(target: Target, checked: Checked) -> float:
    """The share of wrong results among the accepted ones is not expected to be above this."""
    wrong = _voted_wrong(target.assume_liars, checked) + _singly_wrong(target, checked.singles)
    return min(1.0, wrong / max(1, checked.chunks))


def hidden_rate(checks: float) -> float:
    """Of a liar's results, the share that is expected to be wrong after so many secret checks found nothing.

    Who lies in a share x of them survives k checks with (1 - x)^k, and x (1 - x)^k is largest at x = 1 / (k + 1).
    Times f this tends to F4 with blacklisting (Sarmenta 2002), but for the factor 1 - f.
    """
    return math.exp(-checks * math.log1p(1 / checks)) / (checks + 1) if checks > 0 else 1.0


def _singly_wrong(target: Target, singles: Sequence[Singles]) -> float:
    """Liars have a share f of the results, and those that were checked the least: names are free, so that who was
    caught may be there again under a new one.
    """
    lawful = target.max_error / target.assume_liars
    rates = sorted((min(lawful if one.lawful else 1.0, hidden_rate(one.checks)), one.count) for one in singles)
    left, wrong = target.assume_liars * sum(one.count for one in singles), 0.0
    for rate, count in reversed(rates):
        taken = min(left, count)
        wrong += rate * taken
        left -= taken
    return wrong


def _voted_wrong(liars: float, checked: Checked) -> float:
    """Wrong chunks among those that votes decided: all voters must be liars, and no audit may have met one.

    The audits bound what each group of colluders that can sit on one chunk has left in place: as in `hidden_rate`.
    """
    by_votes = checked.voted * liars**checked.votes
    groups = math.comb(max(checked.votes, liars_among(checked.workers, liars)), checked.votes)
    met = checked.audits * checked.voted / max(1, checked.chunks)
    return min(by_votes, groups * checked.voted * hidden_rate(met))


def liars_among(workers: int, liars: float) -> int:
    """How many of so many peers may lie: the expected number and two standard deviations."""
    return min(workers, math.ceil(workers * liars + 2 * math.sqrt(workers * liars * (1 - liars))))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a job of this size with these peers is expected to cost and to be worth."""

    votes: int
    checks: float
    """Share of the results that votes or audits check."""
    overhead: float
    """Executions per chunk in an honest network."""
    bound: float
    newcomers: int
    workers: int

    def holds(self, target: Target) -> bool:
        """Whether the target is promised."""
        return self.bound <= target.max_error * (1 + 1e-9)


def forecast(target: Target, votes: int, chunks: int, clean: Sequence[float], audits: float = 0.0) -> Forecast:
    """For `chunks` spread evenly over workers with so many clean results, and `audits` in the background.

    All checks are taken for votes: an audit instead, where there is room for it, is worth more and costs no more.
    """
    cap, each = vote_share_max(target, votes), chunks / max(1, len(clean))
    audits = min(audits, audit_share_max(target) * chunks)
    voted, checked, singles = 0.0, 0.0, []
    for count in clean:
        checks, lawful = min(checks_due(target, count, each), cap * each), is_lawful(target, count, votes)
        worth = checks * vote_worth(target.assume_liars)
        singles.append(Singles(each if lawful else each - checks, worth, lawful))
        voted += 0.0 if lawful else checks
        checked += checks
    plan = Checked(chunks, round(voted), round(audits), votes, len(clean), tuple(singles))
    overhead = 1 + (checked * (votes - 1) + audits) / max(1, chunks)
    newcomers = sum(count + 1 < dues_by_votes(target) for count in clean)
    return Forecast(votes, checked / max(1, chunks), overhead, error_bound(target, plan), newcomers, len(clean))


def checks_due(target: Target, clean: float, results: float) -> float:
    """The expected number of checks of the next `results` of a peer with `clean` ones: the integral of q(a)."""
    dues, end = dues_by_votes(target), clean + results
    full = max(0.0, min(end, dues) - clean)
    start, stop = max(clean, dues), min(end, dues / AUDIT_MIN)
    falling = dues * math.log(stop / start) if stop > start else 0.0
    return full + falling + AUDIT_MIN * max(0.0, end - max(clean, dues / AUDIT_MIN))


def choose_votes(target: Target, chunks: int, clean: Sequence[float], audits: float = 0.0) -> int:
    """The fewest votes with which the target holds within the overhead cap; else those with the least bound."""
    options = range(2, max(2, min(len(clean), math.floor(target.max_overhead))) + 1)
    forecasts = [forecast(target, votes, chunks, clean, audits) for votes in options]
    good = [one for one in forecasts if one.holds(target)]
    return (good or sorted(forecasts, key=lambda one: one.bound))[0].votes
