"""The worst plan of the design law played against the shipped job machine: sleepers of many ages who always return.

The law's adversary is honest until its checks are rare, lies until it is caught and begins anew. The shipped court
takes back what a caught liar gave in the running job, and audits in the background: it should do better than the law.
"""

from dataclasses import dataclass
from random import Random

from protocol.adaptive import Adaptive
from protocol.planner import AUDIT_MIN, Target
from simulations.experiments.behaviours import HONEST, Behaviour, Sleeps
from simulations.experiments.outcome import Line
from simulations.experiments.series import Series

WORKERS = 20
LIVES = 2
"""So many lives of an identity as long as its sleep, and `AWAKE` chunks to lie in."""
AWAKE = 300


@dataclass(frozen=True, slots=True)
class Setting:
    """`sleep` is in units of c / q_min, the age at which checks are at their rarest; `job` is chunks per worker."""

    error: float
    sleep: float
    job: int


SETTINGS_QUICK = (Setting(0.05, 1.0, 20),)
SETTINGS_FULL = (
    *(Setting(0.05, sleep, job) for sleep in (0.3, 0.6, 1.0) for job in (20, 100)),
    *(Setting(0.02, sleep, 20) for sleep in (0.3, 1.0)),
)


def against_the_machine(setting: Setting) -> Line:
    """The share of wrong results in a series of jobs whose plans all promised the target."""
    target = Target(max_error=setting.error)
    policy = Adaptive(target)
    sleep = round(setting.sleep * policy.dues / AUDIT_MIN)
    liars = round(target.assume_liars * WORKERS)
    behaviours: list[Behaviour] = [Sleeps(sleep)] * liars + [HONEST] * (WORKERS - liars)
    series = Series(policy, behaviours, Random(1), whitewash=True)
    items = wrong = unpromised = 0
    while items < WORKERS * (LIVES * sleep + AWAKE):
        tally = series.run(WORKERS * setting.job)
        items += tally.items
        wrong += tally.wrong
        unpromised += not tally.promised
    label = f"shipped machine, target {setting.error:g}, sleep {sleep}, jobs of {WORKERS * setting.job:,}: wrong"
    why = f"{unpromised} of the jobs were not promised the target" if unpromised else ""
    return Line(label, wrong / items, setting.error, 0.0, why, ceiling=True)
