"""What a job may cost and how long it may take: at either limit it ends with what it has."""

from dataclasses import dataclass
from math import inf

from protocol.worker_book import WorkerBook


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Credits in all, and seconds from the job's start."""

    budget: float = inf
    deadline_s: float = inf

    def reached(self, workers: WorkerBook, elapsed_s: float) -> str | None:
        """Which limit is reached, in words."""
        if self.budget < inf and owed(workers) >= self.budget:
            credits = f"{self.budget:g} credit{'' if self.budget == 1 else 's'}"
            return f"the budget of {credits} is reached; what is accepted is kept and paid"
        if elapsed_s >= self.deadline_s:
            return f"the deadline of {_in_words(self.deadline_s)} is reached; what is accepted is kept and paid"
        return None


def _in_words(seconds: float) -> str:
    for unit_s, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= unit_s and seconds % unit_s == 0:
            return f"{seconds / unit_s:g} {name}"
    return f"{seconds:g} s"


NO_LIMITS = JobLimits()


def owed(workers: WorkerBook) -> float:
    """The most that the results so far can cost: all that workers say they have computed, at their prices.

    What is paid in the end is this or less: results that are not accepted, or agree with cheaper ones, cost less.
    """
    total = 0.0
    for peer, tally in workers.tallies.items():
        offer = workers.offers.get(peer)
        if offer is not None and not offer.local and tally.banned is None:
            total += tally.compute_s * offer.speed * offer.price
    return total
