"""Closed formulas that the simulator is held against: redundant execution, credibility, churn, audits.

Pure functions of the published models, kept apart from the rules that the network runs. Symbols as in
the literature: `lying` (phi) is the probability that a result is a lie, `liars` (f) the share of liars
among the workers, `rate` (s) how often a liar lies, `audit` (q) the share of results that are checked.
"""

import math
from collections.abc import Callable, Sequence

BOINC_VALID_MIN = 10
"""Consecutive valid results from which BOINC begins to take single results of a host."""
_SIMPSON_STEPS = 2000


def m_majority_error(m: int, lying: float) -> float:
    """F1: the majority of 2m-1 independent results is a lie on which the liars agree."""
    votes = 2 * m - 1
    return sum(math.comb(votes, lies) * lying**lies * (1 - lying) ** (votes - lies) for lies in range(m, votes + 1))


def m_first_error(m: int, lying: float) -> float:
    """F2: the first value to reach m equal results is a lie on which the liars agree."""
    return sum(math.comb(m - 1 + right, right) * lying**m * (1 - lying) ** right for right in range(m))


def m_first_executions(m: int, lying: float) -> float:
    """Mean executions per chunk until one value has m equal results."""
    ends = (
        (
            m + other,
            math.comb(m - 1 + other, other) * (lying**m * (1 - lying) ** other + (1 - lying) ** m * lying**other),
        )
        for other in range(m)
    )
    return sum(executions * probability for executions, probability in ends)


def unanimous_error(m: int, lying: float) -> float:
    """The lies accepted where any dispute is settled by an execution of one's own and liars agree.

    The first m results are all lies; the denominator is one, since a disputed chunk ends right.
    """
    return lying**m


def least_m(error_max: float, lying: float, error: Callable[[int, float], float]) -> int:
    """The least m whose error is at most this one."""
    m = 1
    while error(m, lying) > error_max:
        m += 1
    return m


def spot_check_error(liars: float, rate: float, audit: float, chunks: int) -> float:
    """F3: the share of wrong results after `chunks` each, with spot checks and blacklisting."""
    survives = (1 - audit * rate) ** chunks
    return rate * liars * survives / ((1 - liars) + liars * survives)


def credibility(liars: float, checks: int, *, blacklisting: bool = True) -> float:
    """F4: the credibility of a worker that has passed so many checks (Sarmenta 2002)."""
    if blacklisting:
        return 1 - liars / ((1 - liars) * checks * math.e)
    return 1 - liars / checks


def group_credibility(groups: Sequence[Sequence[float]], index: int) -> float:
    """F5: the credibility of one group of agreeing results, from the credibilities of all who gave them."""
    good = [math.prod(group) for group in groups]
    bad = [math.prod(1 - one for one in group) for group in groups]

    def only(right: int) -> float:
        return good[right] * math.prod(bad[:right] + bad[right + 1 :])

    return only(index) / (math.prod(bad) + sum(only(right) for right in range(len(groups))))


def checks_for(error_max: float, liars: float, agreeing: int) -> int:
    """How many passed checks each of so many agreeing workers needs, by F4 and F5, for this error."""
    low, high = 1, 2
    while not _is_enough(error_max, liars, agreeing, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = _is_enough(error_max, liars, agreeing, middle)
        low, high = (low, middle) if enough else (middle, high)
    return high


def boinc_single_probability(consecutive_valid: int) -> float:
    """F6: the probability that BOINC's adaptive replication takes a single result of a host."""
    return 0.0 if consecutive_valid < BOINC_VALID_MIN else 1 - 1 / consecutive_valid


def weibull_mean(shape: float, scale: float) -> float:
    """The mean session of Weibull churn, in the unit of `scale`."""
    return scale * math.gamma(1 + 1 / shape)


def weibull_residual_survival(time: float, shape: float, scale: float) -> float:
    """The probability that a peer met at a random moment is still there after `time` (unit of `scale`).

    The equilibrium residual life of renewal theory: 1 - (integral of the survival function up to `time`) / mean.
    Integrated over x = (u / scale) ** shape with Simpson's rule, where the integrand is smooth for shapes up to 1.
    """
    end = math.pow(time / scale, shape)
    step = end / _SIMPSON_STEPS

    def integrand(x: float) -> float:
        return math.exp(-x) * math.pow(x, 1 / shape - 1) if x > 0 or shape == 1 else 0.0

    inner = sum((4 if i % 2 else 2) * integrand(i * step) for i in range(1, _SIMPSON_STEPS))
    area = (integrand(0.0) + inner + integrand(end)) * step / 3
    return max(0.0, 1 - area / math.gamma(1 / shape))


def record_survival(alive: float, holders: int) -> float:
    """V7: at least one of so many holders is still there."""
    return 1 - (1 - alive) ** holders


def design_law_error(liars: float, dues: float, audit_min: float) -> float:
    """The worst share of wrong results under q(a) = max(q_min, min(1, c / (a + 1))); tight for c >= 100."""
    return liars * (1 - audit_min) / dues


def design_law_overhead(dues: float, audit_min: float, life_chunks: float) -> float:
    """Audits per chunk under the same schedule over an identity's life (`life_chunks` above `dues`)."""
    if life_chunks <= dues / audit_min:
        return dues * (1 + math.log(life_chunks / dues)) / life_chunks
    falling = dues * (1 + math.log(1 / audit_min))
    return (falling + (life_chunks - dues / audit_min) * audit_min) / life_chunks


def _is_enough(error_max: float, liars: float, agreeing: int, checks: int) -> bool:
    """The error in terms of the doubt 1 - credibility, which keeps its digits where that is close to one."""
    doubt = liars / ((1 - liars) * checks * math.e)
    if doubt >= 1:
        return False
    wrong = doubt**agreeing
    return wrong / (wrong + (1 - doubt) ** agreeing) <= error_max
