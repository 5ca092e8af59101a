"""The plan of a job and the bound that it reached, as people see them."""

from typing import TypedDict

from protocol.adaptive import Adaptive
from protocol.job_machine import JobMachine
from protocol.plan_words import plan_line
from protocol.planner import error_bound


class PlanFields(TypedDict):
    """Fields of a `JobView`."""

    plan: str
    shortfall: str
    error_bound: float | None


def plan_of(machine: JobMachine, *, so_far: bool = False) -> PlanFields:
    """The plan of `adaptive` while other peers are at hand, and the bound once results are final, or `so_far`."""
    checked, target = machine.checked_now() if so_far else machine.checked, machine.rules.target
    nothing = 0.0 if so_far else None
    bound = error_bound(target, checked) if checked is not None else nothing
    planned = isinstance(machine.court.policy, Adaptive) and not machine.rules.self_checking
    if not planned or not machine.workers.clean_at_start():
        return PlanFields(plan="", shortfall="", error_bound=bound)
    plan, shortfall = machine.forecast()
    return PlanFields(plan=plan_line(target, plan), shortfall=shortfall, error_bound=bound)
