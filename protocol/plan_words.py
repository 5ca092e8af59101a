"""The plan of a job in one line, and what would carry a target that this job cannot (DESIGN section 8)."""

import math
from collections.abc import Sequence

from protocol.planner import VOTES_MAX, Forecast, Target, choose_votes, dues_by_votes, forecast


def share(value: float) -> str:
    """A share as people say it: `0.1 %`, `3.6 %`, `0.0004 %`."""
    return f"{value * 100:.2g} %"


def plan_line(target: Target, plan: Forecast) -> str:
    """Who is checked how, what it costs and what it is worth."""
    old = plan.workers - plan.newcomers
    parts = []
    if plan.newcomers:
        strangers = _count(plan.newcomers, "stranger")
        parts.append(
            f"{plan.votes} votes on results of {strangers}, until each has {math.ceil(dues_by_votes(target))} clean"
        )
    if old:
        parts.append(f"audits of {_count(old, 'known peer')}")
    head = " and ".join(parts) or "this machine alone"
    return (
        f"{head}; {share(plan.checks)} of the results checked, {plan.overhead:.2f} executions per chunk; "
        f"at most {share(plan.bound)} wrong if {share(target.assume_liars)} of the peers lie "
        f"(target {share(target.max_error)})"
    )


def shortfall_line(target: Target, plan: Forecast, chunks: int, clean: Sequence[float], audits: float) -> str:
    """Why the target is not promised and what would carry it; empty where it is."""
    if plan.holds(target):
        return ""
    ways = [f"--max-error {_round_up(plan.bound):g}"]
    for cap in range(math.floor(target.max_overhead) + 1, VOTES_MAX + 1):
        more = Target(target.max_error, cap, target.assume_liars, target.audit_share)
        if forecast(more, choose_votes(more, chunks, clean, audits), chunks, clean, audits).holds(more):
            ways.append(f"--max-overhead {cap}")
            break
    ways.append(f"peers with {math.ceil(dues_by_votes(target))} clean results")
    return (
        f"{_count(chunks, 'chunk')} on {_count(plan.workers, 'peer')} cannot carry the target within "
        f"{target.max_overhead:g} executions per chunk; what can: {', or '.join(ways)}. "
        "Going for the best bound within that"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _round_up(value: float) -> float:
    """To one digit that counts."""
    digit = 10.0 ** math.floor(math.log10(value))
    return min(0.99, math.ceil(value / digit - 1e-9) * digit)
