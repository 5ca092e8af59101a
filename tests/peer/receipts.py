"""A receipt for tests that keep them."""

from protocol.bodies import Receipt
from protocol.ids import JobId, LeaseId, PeerId


def receipt(sequence: int, credits: float, lease: str = "lease") -> Receipt:
    """Over one job's work; lease and number are what it is known by."""
    return Receipt(job=JobId("job-1"), lease=LeaseId(lease), sequence=sequence, worker=PeerId("p"), chunks=(),
                   credits=credits, price=credits)  # fmt: skip
