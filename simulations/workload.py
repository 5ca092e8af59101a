"""The jobs of a run: items are numbers, and what is right for each is known."""

from random import Random

from peer.views import JobRequest
from simulations.models.speed import sample
from simulations.scenario import Scenario

_MULTIPLIER = 2654435761
_MODULUS = 2**32
CODE = "def run(item):\n    return item * 2654435761 % 2**32\n"


def true_result(item: object) -> object:
    """What an honest worker gives for an item; neither zero nor the item itself, mostly."""
    assert isinstance(item, int)
    return item * _MULTIPLIER % _MODULUS


class Work:
    """How long each item takes on the reference machine: drawn once, the same for every replica."""

    def __init__(self, scenario: Scenario, random: Random) -> None:
        workload = scenario.workload
        self._workload = workload
        jobs = workload.coordinators * workload.jobs
        self._durations_s = [sample(workload.item_s, random) for _ in range(workload.items * jobs)]

    def duration_s(self, item: object, speed: float = 1.0) -> float:
        """Seconds that a machine of this speed takes for an item."""
        assert isinstance(item, int)
        return self._durations_s[item] / speed

    def first_item(self, coordinator: int, job: int) -> int:
        """The number of the first item of a coordinator's n-th job: no two jobs share an item."""
        return (coordinator * self._workload.jobs + job) * self._workload.items

    def request(self, coordinator: int, job: int) -> JobRequest:
        """What the submitter asks for."""
        first = self.first_item(coordinator, job)
        return JobRequest(
            name=f"job-{coordinator}-{job}.py",
            code=CODE,
            items=list(range(first, first + self._workload.items)),
            verify=self._workload.verify,
            max_error=self._workload.max_error,
            max_overhead=self._workload.max_overhead,
            assume_liars=self._workload.assume_liars,
            audit_share=self._workload.audit_share,
            local=self._workload.local,
            workers_max=self._workload.workers_max,
            item_timeout_s=self._workload.item_timeout_s,
        )
