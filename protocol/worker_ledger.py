"""What a worker earned: receipts, each checked and counted once; and what it was not paid for.

It remembers the last `LEASES_REMEMBERED_MAX` leases, so that a receipt can come after its lease has
ended, and so that no lease id is used twice: a coordinator that gave one id to two leases would have
two commitments with one number, and could accuse an honest worker of contradicting itself.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import inf

from protocol.bodies import Receipt
from protocol.errors import BadFrame
from protocol.ids import JobId, LeaseId, PeerId
from protocol.limits import LEASES_REMEMBERED_MAX, RECEIPT_GRACE_S
from protocol.signing import Envelope, open_envelope


@dataclass(slots=True)
class _Account:
    job: JobId
    coordinator: PeerId
    sequence: int = -1
    compute_s: float = 0.0
    """Computed for results that were sent."""
    ended_at: float = inf


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

    def close(self, lease: LeaseId, compute_s: float, now: float) -> None:
        """The lease has ended, after so much work."""
        if (account := self._accounts.get(lease)) is not None:
            account.compute_s, account.ended_at = compute_s, now

    def unpaid_s(self, coordinator: PeerId, now: float, but: JobId) -> float:
        """Seconds computed for jobs of a coordinator that were over `RECEIPT_GRACE_S` ago and gave no receipt at all.

        A job that still runs, such as the one that calls (`but`), may pay yet. That some work is not paid is honest:
        results that were not needed any more, or that others found wrong. Leases that are forgotten are forgiven.
        """
        jobs: dict[JobId, list[_Account]] = {}
        for account in self._accounts.values():
            if account.coordinator == coordinator and account.job != but:
                jobs.setdefault(account.job, []).append(account)
        owing = [
            accounts
            for accounts in jobs.values()
            if all(one.sequence < 0 and one.ended_at + RECEIPT_GRACE_S <= now for one in accounts)
        ]
        return sum(one.compute_s for accounts in owing for one in accounts)

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
