"""The design law as a policy plug-in: audits that become rarer with each clean result of a worker.

Not a policy that users can ask for; it is here to be measured against its own bound. Judging and everything
that follows from a lie are the shipped rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.chunk import Vote
from protocol.verification import Audit, Verdict, WorkerRecord


@dataclass(frozen=True, slots=True)
class AuditSchedule:
    """q(a) = max(`audit_min`, min(1, `dues` / (a + 1))), with a the clean results of the worker."""

    dues: float
    audit_min: float
    replicas: int = 1

    @property
    def name(self) -> str:
        """For tables."""
        return f"schedule c={self.dues:g}"

    def probability(self, record: WorkerRecord) -> float:
        """The design law."""
        return max(self.audit_min, min(1.0, self.dues / (record.clean + 1)))

    def judge(self, votes: Sequence[Vote]) -> Verdict:
        """As the shipped audit policy does."""
        return Audit(self.audit_min).judge(votes)
