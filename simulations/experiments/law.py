"""What an adversary's plan comes to under the design law, computed exactly (VALIDATION.md, "Design law").

A liar has one identity at a time. A result of one with `a` clean results is checked with q(a), the shipped `check_due`;
a checked lie ends the identity, an unchecked one counts as clean. A new identity is free. In the long run the share of
wrong results that it gets accepted is what one identity is expected to get through over what it is expected to answer.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from protocol.planner import AUDIT_MIN, Target, check_due, dues_for

LIFE_DUES = 2.0
"""No identity is kept for longer than so many times c / q_min results: by then q(a) has long been at its least."""
_GONE = 1e-9
"""Identities that are left when the rest of a life no longer matters."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When to lie, by the identity's clean results; counts are in units of c, so that plans suit any target."""

    sleep: float = 0.0
    """Honest for so long."""
    rate: float = 1.0
    """Then it lies in this share of its results,"""
    decay: float = 0.0
    """which falls (or, below zero, rises) by a factor of e each 1 / decay."""
    life: float = math.inf
    """Leaves by itself at this age and begins anew (whitewashing)."""
    burst: float = 0.0
    """For so long before that it lies in all results."""
    lies: int = 0
    """Leaves after so many lies that got through; 0: never for that."""

    def lying(self, age: float) -> float:
        """The probability that it lies now, at this age in units of c."""
        if self.life - self.burst <= age:
            return 1.0
        if age < self.sleep:
            return 0.0
        return min(1.0, self.rate * math.exp(min(700.0, -self.decay * (age - self.sleep))))


def life_results(target: Target) -> int:
    """The most results that are looked at of one identity."""
    return math.ceil(LIFE_DUES * dues_for(target) / AUDIT_MIN)


def steps(plan: Plan, target: Target) -> Iterator[tuple[float, float]]:
    """For each result of an identity: the probability that it is a lie, and that it is checked."""
    dues = dues_for(target)
    for clean in range(min(life_results(target), max(1, math.ceil(min(plan.life, 1e9) * dues)))):
        yield plan.lying(clean / dues), check_due(target, clean)


def wrong_share(plan: Plan, target: Target) -> float:
    """Of the liar's results, the share that is wrong and accepted; exact but for `life_results`."""
    alive = [1.0] + [0.0] * (plan.lies - 1)
    through = answered = 0.0
    for lie, check in steps(plan, target):
        left = sum(alive)
        if left < _GONE:
            break
        answered += left
        through += left * lie * (1 - check)
        alive = _after(alive, lie, check, counted=plan.lies > 0)
    return through / answered


def _after(alive: list[float], lie: float, check: float, *, counted: bool) -> list[float]:
    """Identities by lies that got through: who is caught is gone, and so is who has had its number of lies."""
    if not counted:
        return [alive[0] * (1 - lie * check)]
    one_more = [0.0, *(number * lie * (1 - check) for number in alive[:-1])]
    return [kept * (1 - lie) + new for kept, new in zip(alive, one_more, strict=True)]


def played(plan: Plan, target: Target, results: int, random: Random) -> tuple[float, int]:
    """The same share by drawing each lie and each check, and over how many identities."""
    through = answered = identities = 0
    while answered < results:
        identities += 1
        lies = 0
        for lie, check in steps(plan, target):
            answered += 1
            if random.random() < lie:
                if random.random() < check:
                    break
                lies += 1
                if lies == plan.lies:
                    break
        through += lies
    return through / answered, identities


def best_possible(target: Target) -> float:
    """The most that any plan can get: the optimum over all of them, for comparison with what a search finds.

    Dinkelbach's method: with a price on each answer, the best life is found backwards, result by result; the price at
    which it is worth nothing is the best share.
    """
    checks = [check_due(target, clean) for clean in range(life_results(target))]
    low, high = 0.0, 1.0
    while high - low > 1e-9 * max(low, 1e-6):
        price = (low + high) / 2
        low, high = (price, high) if _worth(price, checks) > 0 else (low, price)
    return low


def _worth(price: float, checks: list[float]) -> float:
    """What an identity is worth from its first result on, if it may leave at any time but not before that."""
    worth = first = 0.0
    for check in reversed(checks):
        first = -price + max(worth, (1 - check) * (1 + worth))
        worth = max(0.0, first)
    return first
