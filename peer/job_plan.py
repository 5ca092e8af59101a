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


def plan_of(machine: JobMachine) -> PlanFields:
    """The plan while other peers are at hand, and the bound once results are final; plain policies have no plan."""
    checked, target = machine.checked, machine.rules.target
    bound = error_bound(target, checked) if checked is not None else None
    if not isinstance(machine.court.policy, Adaptive) or not machine.workers.clean_at_start():
        return PlanFields(plan="", shortfall="", error_bound=bound)
    plan, shortfall = machine.forecast()
    return PlanFields(plan=plan_line(target, plan), shortfall=shortfall, error_bound=bound)
