"""What a worker earned: receipts, each checked and counted once.

It remembers the last `LEASES_REMEMBERED_MAX` leases, so that a receipt can come after its lease has
ended, and so that no lease id is used twice: a coordinator that gave one id to two leases would have
two commitments with one number, and could accuse an honest worker of contradicting itself.
"""

from collections import OrderedDict
from dataclasses import dataclass

from protocol.bodies import Receipt
from protocol.errors import BadFrame
from protocol.ids import JobId, LeaseId, PeerId
from protocol.limits import LEASES_REMEMBERED_MAX
from protocol.signing import Envelope, open_envelope


@dataclass(slots=True)
class _Account:
    job: JobId
    coordinator: PeerId
    sequence: int = -1


class Ledger:
    """The receipts of one worker, summed."""

    def __init__(self, worker: PeerId) -> None:
        self.credits = 0.0
        self.receipts = 0
        self._worker = worker
        self._accounts: OrderedDict[LeaseId, _Account] = OrderedDict()

    def knows(self, lease: LeaseId) -> bool:
        """Whether a lease had this id, as far as is remembered."""
        return lease in self._accounts

    def open(self, lease: LeaseId, job: JobId, coordinator: PeerId) -> None:
        """A new lease; the oldest one is forgotten where there are too many."""
        self._accounts[lease] = _Account(job, coordinator)
        if len(self._accounts) > LEASES_REMEMBERED_MAX:
            self._accounts.popitem(last=False)

    def take(self, lease: LeaseId, envelope: Envelope, coordinator: PeerId) -> Receipt:
        """Check and count a receipt.

        Raises `BadSignature` or `BadFrame`: signed by somebody else, for another job, lease or
        worker, or with a sequence that does not grow (a replay).
        """
        account = self._accounts.get(lease)
        if account is None or account.coordinator != coordinator:
            raise BadFrame(f"a receipt for a lease of {coordinator} that is not known here")
        receipt = open_envelope(envelope, Receipt, coordinator)
        if (receipt.lease, receipt.job, receipt.worker) != (lease, account.job, self._worker):
            raise BadFrame("a receipt for another lease, job or worker")
        if receipt.sequence <= account.sequence:
            raise BadFrame(f"receipt {receipt.sequence} is replayed: {account.sequence} was there")
        account.sequence = receipt.sequence
        self.credits += receipt.credits
        self.receipts += 1
        return receipt
