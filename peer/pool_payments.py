"""Paying the workers of one job: receipts, each signed, written down, and sent or handed over as the job ends."""

import logging
from collections.abc import Callable, Mapping, Sequence

import trio

from peer.job_owing import Debt
from peer.seam import Seam
from protocol.bodies import Receipt
from protocol.channel import MessageChannel
from protocol.errors import RemoteError, Unavailable
from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.job_events import Pay
from protocol.limits import DIAL_TIMEOUT_S, REQUEST_TIMEOUT_S
from protocol.messages.job import JOB_CODEC, Receipts
from protocol.network import JOB_PROTOCOL

log = logging.getLogger(__name__)

Keep = Callable[[Receipt], None]


class PoolPayments:
    """One per job. `send` gives a receipt to a worker that is here, and says whether it is."""

    def __init__(self, seam: Seam, job: JobId, send: Callable[[PeerId, Receipts], bool]) -> None:
        self._seam = seam
        self._job = job
        self._send = send
        self._leases: dict[PeerId, LeaseId] = {}
        self._owed: dict[PeerId, list[Receipts]] = {}
        self._count = int(seam.wall_clock())
        """Grows from run to run: one lease may be paid for by several, where results were handed over."""
        self.earlier_credits = self.earlier_price = 0.0
        """Paid for runs of the job that were cut off."""

    def leased(self, peer: PeerId, lease: LeaseId) -> None:
        """What the worker earns from now on is paid for this lease."""
        self._leases[peer] = lease

    def leased_before(self, peer: PeerId, lease: LeaseId) -> None:
        """The lease of an earlier run, which counts where there is none in this one."""
        self._leases.setdefault(peer, lease)

    @property
    def leases(self) -> Mapping[PeerId, LeaseId]:
        """The last lease of each worker."""
        return self._leases

    def pay(self, pay: Pay, keep: Keep) -> None:
        """Sign a receipt and send it, or hand it over in `close` where the worker has left; not without a lease.

        Whoever did accepted work is owed its receipt, whether or not it stayed until the end. `keep` writes it down
        before anybody has it: what it raises ends this.
        """
        if (lease := self._leases.get(pay.peer)) is None:
            return
        message = self._signed(pay.peer, lease, pay.chunks, pay.credits, pay.price, keep)
        if not self._send(pay.peer, message):
            self._owed.setdefault(pay.peer, []).append(message)

    def pay_earlier(self, debt: Debt, keep: Keep) -> None:
        """As `pay`, for a run of this job that was cut off: its receipt is handed over in `close`."""
        self.earlier_credits += debt.credits
        self.earlier_price += debt.price
        message = self._signed(debt.peer, debt.lease, (), debt.credits, debt.price, keep)
        self._owed.setdefault(debt.peer, []).append(message)

    def _signed(
        self, peer: PeerId, lease: LeaseId, chunks: tuple[ChunkId, ...], credits: float, price: float, keep: Keep
    ) -> Receipts:
        receipt = Receipt(
            job=self._job, lease=lease, sequence=self._count, worker=peer, chunks=chunks, credits=credits, price=price
        )
        self._count += 1
        keep(receipt)
        return Receipts(lease=lease, receipt=self._seam.identity.sign(receipt))

    def hand_over_later(self, nursery: trio.Nursery) -> None:
        """Begin to hand over the receipts of those who have left, all at once; each is bounded in time."""
        for peer, receipts in sorted(self._owed.items()):
            nursery.start_soon(self._hand_over, peer, receipts)

    async def _hand_over(self, peer: PeerId, receipts: Sequence[Receipts]) -> None:
        """Tried once: who is gone for good, or has restarted and forgotten the lease, goes without."""
        try:
            with trio.fail_after(DIAL_TIMEOUT_S + REQUEST_TIMEOUT_S):
                stream = await self._seam.host.open_stream(peer, JOB_PROTOCOL)
                try:
                    await MessageChannel(stream, JOB_CODEC).send(*receipts)
                    await stream.close()
                    await stream.receive()
                finally:
                    with trio.CancelScope(shield=True):
                        await stream.reset()
        except (Unavailable, RemoteError, trio.TooSlowError) as error:
            log.info("%s could not be given its receipts: %s", peer, error)
