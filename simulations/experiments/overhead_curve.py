"""What long-lived honest peers cost: executions per chunk by clean results, beside the design law's formula.

One network, a series of jobs over the shipped job machine; each worker brings along what it has earned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from protocol.adaptive import Adaptive
from protocol.planner import AUDIT_MIN, Target
from simulations.charts import Chart
from simulations.experiments.behaviours import HONEST
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.series import Series
from simulations.formulas import design_law_overhead
from simulations.plots import Point

WORKERS_QUICK, WORKERS_FULL = 20, 40
TARGETS_QUICK = (Target(max_error=0.03),)
TARGETS_FULL = (Target(max_error=0.03), Target(max_error=0.01))
SEEDS = 5
STANDARD_ERRORS = 4.0
MEASURED = "measured"
STEPS = (0.5, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0)
"""Chunks per worker of each job, in units of c: the dues, then ever longer jobs; in the last q(a) is at its least."""


@dataclass(frozen=True, slots=True)
class Step:
    """One job: the clean results of a worker on average when it began and ended, and the overhead."""

    begins: float
    ends: float
    overhead: float
    law: float
    """Executions per chunk by the formula."""
    error: float
    """The standard error that so many draws with this probability leave."""


def run(quick: bool) -> Outcome:
    """A loose target only when quick: strict ones need longer lives."""
    lines, curves = list[Line](), dict[str, tuple[Point, ...]]()
    workers = WORKERS_QUICK if quick else WORKERS_FULL
    for target in TARGETS_QUICK if quick else TARGETS_FULL:
        policy = Adaptive(target)
        found = measure(policy, workers)
        label = f"target {target.max_error:g} (c={policy.dues:.3g})"
        lines += [_line(label, step, policy, workers) for step in found]
        lines.append(_floor(label, found[-1], policy, workers))
        curves[f"{label}: {MEASURED}"] = tuple(Point(_middle(one), one.overhead, one.error) for one in found)
        curves[f"{label}: design law"] = tuple(Point(_middle(one), one.law, 0.0) for one in found)
    notes = (
        f"{workers} honest workers, {SEEDS} seeds. In the dues the cap of 2 executions per chunk keeps 10 % for audits "
        "in the background, so that only 90 % of the newcomers' results are checked: less than the law asks.",
        "Audits in the background are a quarter of one slot at most; the design law has none, so what is measured may "
        f"be up to {TARGETS_QUICK[0].audit_share / workers:.2g} for each execution above it.",
        f"Accepted: {STANDARD_ERRORS:g} standard errors.",
    )
    title = "what honest peers cost as they earn trust"
    return Outcome("overhead_curve", title, tuple(lines), notes, (_chart(curves),))


def measure(policy: Adaptive, workers: int) -> list[Step]:
    """The series of jobs, the mean over the seeds."""
    runs = [_one_series(policy, workers, Random(seed)) for seed in range(SEEDS)]
    return [_mean(steps) for steps in zip(*runs, strict=True)]


def _one_series(policy: Adaptive, workers: int, random: Random) -> list[Step]:
    series, steps = Series(policy, [HONEST] * workers, random), []
    for each in STEPS:
        before = fmean(one.clean for one in series.peers)
        tally = series.run(round(each * policy.dues * workers))
        after = fmean(one.clean for one in series.peers)
        checks = _law_between(policy.dues, before, after)
        error = math.sqrt(checks * (1 - checks) / (tally.items * SEEDS))
        steps.append(Step(before, after, tally.overhead, 1 + checks, error))
    return steps


def _mean(steps: Sequence[Step]) -> Step:
    return Step(
        *(fmean(getattr(one, name) for one in steps) for name in ("begins", "ends", "overhead", "law", "error"))
    )


def _law_between(dues: float, begins: float, ends: float) -> float:
    """Checks per chunk between two ages, from the formula for whole lives."""

    def checks(life: float) -> float:
        return min(life, dues) if life <= dues else life * design_law_overhead(dues, AUDIT_MIN, life)

    return (checks(ends) - checks(begins)) / (ends - begins)


def _middle(step: Step) -> float:
    return (step.begins + step.ends) / 2


def _line(label: str, step: Step, policy: Adaptive, workers: int) -> Line:
    """The expected value is the middle of what the room for audits in the background allows."""
    half = _background(policy, workers) * step.overhead / 2
    capped = step.begins < policy.dues
    why = "in the dues the overhead cap allows fewer checks than the law asks" if capped else ""
    words = f"{label}: overhead from {step.begins:,.0f} to {step.ends:,.0f} clean"
    return Line(words, step.overhead, step.law + half, half + STANDARD_ERRORS * step.error, why)


def _floor(label: str, last: Step, policy: Adaptive, workers: int) -> Line:
    within = _background(policy, workers) * last.overhead + STANDARD_ERRORS * last.error
    return Line(f"{label}: overhead of the last job", last.overhead, 1 + AUDIT_MIN, within)


def _background(policy: Adaptive, workers: int) -> float:
    """Audits in the background for each execution, at most."""
    return policy.target.audit_share / workers


def _chart(curves: dict[str, tuple[Point, ...]]) -> Chart:
    return Chart(
        "curve",
        "Executions per chunk of honest peers",
        ("clean results of a worker", "executions per chunk"),
        curves,
        frozenset(name for name in curves if name.endswith(MEASURED)),
        (True, False),
        level=1 + AUDIT_MIN,
    )
