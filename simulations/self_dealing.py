"""Receipts that liars write for one another: worth nothing where the coordinator knows none of the signers."""

from collections.abc import Sequence

from protocol.bodies import Receipt
from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.messages.job import INTRODUCTIONS_MAX
from protocol.signing import Envelope, Identity
from protocol.worker_memory import NoMemory

CREDITS_CLAIMED = 1e6


class SelfDealt(NoMemory):
    """The memory of a worker whom invented coordinators, known to nobody, have paid a fortune."""

    def __init__(self, issuers: Sequence[Identity], worker: PeerId) -> None:
        self._receipts = tuple(_receipt(issuer, worker) for issuer in issuers[:INTRODUCTIONS_MAX])

    def introductions(self, to: PeerId) -> Sequence[Envelope]:
        """The receipts."""
        return self._receipts


def _receipt(issuer: Identity, worker: PeerId) -> Envelope:
    return issuer.sign(
        Receipt(
            job=JobId("invented"),
            lease=LeaseId("invented"),
            sequence=0,
            worker=worker,
            chunks=(ChunkId(0),),
            credits=CREDITS_CLAIMED,
            price=1.0,
        )
    )
