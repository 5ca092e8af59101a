"""The worst adversary against the design law, by search: does any plan get more accepted than f (1 - q_min) / c?

Random plans first, then small changes of the best ones, each evaluated exactly (`law.py`). The search sees nothing of
the bound. That it works is seen from how near it gets: the optimum over all plans is computed as well.
"""

import math
from dataclasses import dataclass, replace
from random import Random

from protocol.planner import AUDIT_MIN, Target, dues_for
from simulations.charts import Chart
from simulations.experiments.law import LIFE_DUES, Plan, best_possible, played, wrong_share
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.sleepers import SETTINGS_FULL, SETTINGS_QUICK, against_the_machine
from simulations.formulas import design_law_error
from simulations.plots import Point

LIARS = 0.2
DUES_QUICK, DUES_FULL = (20.0, 100.0), (20.0, 50.0, 100.0, 200.0, 500.0)
TIGHT_FROM_DUES = 100.0
TIGHT_WITHIN = 0.1
"""From these dues on, the worst plan must come as near to the bound as this."""
STANDARD_ERRORS = 4.0
RANDOM_QUICK, RANDOM_FULL = 120, 400
KEPT, ROUNDS_QUICK, ROUNDS_FULL = 4, 25, 80
PLAYED_QUICK, PLAYED_FULL = 300_000, 3_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """A plan and the share of the liar's results that it gets wrong and accepted."""

    share: float
    plan: Plan


@dataclass(frozen=True, slots=True)
class Size:
    """How hard to search."""

    random: int
    rounds: int
    played: int


def run(quick: bool) -> Outcome:
    """For several dues: what the search finds, the bound, and the optimum."""
    size = Size(RANDOM_QUICK, ROUNDS_QUICK, PLAYED_QUICK) if quick else Size(RANDOM_FULL, ROUNDS_FULL, PLAYED_FULL)
    lines, notes, points = list[Line](), list[str](), list[tuple[float, float, float]]()
    for dues in DUES_QUICK if quick else DUES_FULL:
        target = Target(max_error=LIARS * (1 - AUDIT_MIN) / dues, assume_liars=LIARS)
        worst = search(target, size, Random(7))
        lines += _lines(target, worst)
        if not points:
            lines.append(_played_line(target, worst, size))
        notes.append(f"c={dues:g}: the worst plan found {in_words(worst.plan, dues)}")
        points.append((dues, LIARS * worst.share, design_law_error(LIARS, dues, AUDIT_MIN)))
    lines += [against_the_machine(one) for one in (SETTINGS_QUICK if quick else SETTINGS_FULL)]
    notes.append(
        f"f={LIARS}, q_min={AUDIT_MIN}; identities are free. The law takes back nothing of what a caught liar gave "
        "before; the shipped machine does, as far as the running job goes."
    )
    return Outcome(
        "worst_case", "the worst adversary against the design law", tuple(lines), tuple(notes), (_chart(points),)
    )


def search(target: Target, size: Size, random: Random) -> Found:
    """The worst plan of many drawn at random, refined by small changes of the best few."""
    drawn = [_found(_draw(random), target) for _ in range(size.random)]
    best = sorted(drawn, key=lambda one: -one.share)[:KEPT]
    return max((_refined(one, target, size.rounds, random) for one in best), key=lambda one: one.share)


def in_words(plan: Plan, dues: float) -> str:
    """What the plan does, in results instead of units of c."""
    words = [f"is honest for {plan.sleep * dues:,.0f} results, then lies in {plan.rate:.2f} of them"]
    if plan.decay:
        words.append(f"a share that changes by e each {-1 / plan.decay * dues:+,.0f}")
    if plan.life < math.inf:
        words.append(f"leaves at {plan.life * dues:,.0f}, lying in all of the last {plan.burst * dues:,.0f}")
    if plan.lies:
        words.append(f"leaves after {plan.lies} lies that got through")
    return ", ".join(words)


def _lines(target: Target, worst: Found) -> list[Line]:
    dues = dues_for(target)
    bound, label = design_law_error(LIARS, dues, AUDIT_MIN), f"c={dues:g}"
    nearness = LIARS * worst.share / bound
    expected = (1.0, TIGHT_WITHIN) if dues >= TIGHT_FROM_DUES - 1e-6 else (None, 0.0)
    return [
        Line(f"{label}: wrong results of the worst plan found", LIARS * worst.share, bound, 1e-9, ceiling=True),
        Line(f"{label}: found over the bound", nearness, *expected),
        Line(f"{label}: found over the optimum of all plans", worst.share / best_possible(target), 1.0, 0.02),
    ]


def _played_line(target: Target, worst: Found, size: Size) -> Line:
    """That the exact figure is the figure of the process itself; lies per identity scatter like their mean."""
    share, identities = played(worst.plan, target, size.played, Random(8))
    label = f"c={dues_for(target):g}: drawn one by one, over the exact figure"
    return Line(label, share / worst.share, 1.0, STANDARD_ERRORS / math.sqrt(identities))


def _found(plan: Plan, target: Target) -> Found:
    return Found(wrong_share(plan, target), plan)


def _draw(random: Random) -> Plan:
    """Any kind of plan; scales are drawn as logarithms, from below c to the longest life."""
    longest = LIFE_DUES / AUDIT_MIN
    life = math.inf if random.random() < 0.5 else _scale(random, 0.5, longest)
    return Plan(
        sleep=0.0 if random.random() < 0.2 else _scale(random, 0.1, longest / 2),
        rate=_scale(random, 1e-3, 1.0),
        decay=0.0 if random.random() < 0.5 else random.choice((-1, 1)) * _scale(random, 1e-2, 10.0),
        life=life,
        burst=0.0 if life == math.inf or random.random() < 0.5 else life * random.random(),
        lies=random.choice((0, 0, 1, 2, 3)),
    )


def _scale(random: Random, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))


def _refined(found: Found, target: Target, rounds: int, random: Random) -> Found:
    for number in range(rounds):
        step = 0.5 * (1 - number / rounds) + 0.01
        found = max(found, _found(_changed(found.plan, step, random), target), key=lambda one: one.share)
    return found


def _changed(plan: Plan, step: float, random: Random) -> Plan:
    """One or all of its numbers a little different; kinds change now and then."""
    if random.random() < 0.1:
        other = _draw(random)
        return replace(plan, **{name: getattr(other, name) for name in (random.choice(("decay", "lies", "life")),)})

    def near(value: float) -> float:
        return value * math.exp(random.gauss(0.0, step))

    life = near(plan.life)
    return Plan(
        near(plan.sleep), min(1.0, near(plan.rate)), near(plan.decay), life, min(life, near(plan.burst)), plan.lies
    )


def _chart(points: list[tuple[float, float, float]]) -> Chart:
    curves = {
        "worst plan found": tuple(Point(dues, found, 0.0) for dues, found, _ in points),
        "f (1 - q_min) / c": tuple(Point(dues, bound, 0.0) for dues, _, bound in points),
    }
    marks = frozenset({"worst plan found"})
    return Chart(
        "bound", "The worst plan against the design law", ("dues c", "share wrong"), curves, marks, (True, True)
    )
