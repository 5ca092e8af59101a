"""The workers of one job: finds them in the directory, calls them, awards leases, holds their links.

Drives the auction's machine and keeps no rule of its own.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import trio

from dht.directory import Directory
from peer.deadline import DeadlineTimer
from peer.job_owing import Debt
from peer.job_terms import JobTerms, PoolOwner
from peer.seam import Seam
from peer.worker_link import RESULT_BATCHES_PER_PASS_MAX, CheckedResult, WorkerLink
from protocol.auction import AuctionEffect, AuctionMachine, AuctionRules, AwardBid, CallPeer, DeclineBid, HangUp
from protocol.bodies import Receipt
from protocol.capability import Capability
from protocol.channel import MessageChannel
from protocol.chunk import Failure
from protocol.errors import RemoteError, Unavailable
from protocol.ids import RANDOM_ID_BITS, ChunkId, LeaseId, PeerId, digest, short
from protocol.job_events import FailureArrived, HeardFrom, Pay, Piece, WorkerLost, WorkerReady
from protocol.limits import (
    BID_WINDOW_S,
    DIAL_TIMEOUT_S,
    HEARTBEAT_INTERVAL_S,
    REQUEST_TIMEOUT_S,
    SHORT_TEXT_LENGTH_MAX,
)
from protocol.messages.job import (
    JOB_CODEC,
    Award,
    Bid,
    Heartbeat,
    Outbid,
    Ready,
    Receipts,
    Refusal,
    RefusalReason,
    Release,
)
from protocol.network import JOB_PROTOCOL

log = logging.getLogger(__name__)

SEARCH_AGAIN_S = 10.0
SEARCH_AGAIN_ALONE_S = 1.0
FOUND_PER_WORKER_WANTED = 4


class WorkerPool:
    """Runs until cancelled; `run` owns every task that talks to a worker."""

    def __init__(self, seam: Seam, directory: Directory, terms: JobTerms, owner: PoolOwner) -> None:
        self._seam = seam
        self._directory = directory
        self._terms = terms
        self._owner = owner
        self._links: dict[PeerId, WorkerLink] = {}
        self._scopes: dict[PeerId, trio.CancelScope] = {}
        self._dismissed: dict[PeerId, tuple[str, bool]] = {}
        self._complaints: dict[PeerId, str] = {}
        self._last_leases: dict[PeerId, LeaseId] = {}
        self._owed: dict[PeerId, list[Receipts]] = {}
        self.manifest = terms.manifest
        self._calls = 0
        self._receipts = 0
        self.lacking: dict[PeerId, list[str]] = {}
        """What those found last lack that were not called for it."""
        self.banned_found = 0
        """How many of those found last were not called because they are banned."""
        self.earlier_credits = self.earlier_price = 0.0
        """Paid for runs of the job that were cut off."""
        self.searched = False
        """Whether the directory has answered at least once."""
        self.bytes_sent = 0
        self.bytes_received = 0
        request = terms.request
        rules = AuctionRules(terms.slots_wanted, request.workers_max, request.price_max)
        self.auction = AuctionMachine(rules)
        self._timer = DeadlineTimer(self.auction.next_deadline, self._tick)
        self._pace = trio.CapacityLimiter(RESULT_BATCHES_PER_PASS_MAX)

    # Tasks.

    async def run(self) -> None:
        """Search, call and converse until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._timer.run)
            nursery.start_soon(self._heartbeats)
            await self._search()

    async def _search(self) -> None:
        while True:
            wanted = FOUND_PER_WORKER_WANTED * self._terms.request.workers_max
            try:
                found = await self._directory.find(self._terms.request.runtime, wanted)
            except Unavailable as error:
                log.info("directory: %s", error)
                found = []
            self.searched = True
            banned = self._terms.trust.banned()
            others = [one for one in found if one.peer != self._seam.host.peer_id]
            fit = [one for one in others if one.peer not in banned]
            self.banned_found = len(others) - len(fit)
            self._carry_out(self.auction.found(self._able(fit), trio.current_time()))
            await trio.sleep(SEARCH_AGAIN_S if self._links else SEARCH_AGAIN_ALONE_S)

    def _able(self, found: Sequence[Capability]) -> list[Capability]:
        """Those that lack nothing; who lacks what is kept, to be told while nobody works."""
        missing = {one.peer: self._terms.missing(one) for one in found}
        self.lacking = {peer: lacked for peer, lacked in missing.items() if lacked}
        return [one for one in found if not missing[one.peer]]

    async def _heartbeats(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT_INTERVAL_S)
            for link in list(self._links.values()):
                if link.lease is not None:
                    self._send(link, Heartbeat(lease=link.lease))

    async def _session(self, record: Capability) -> None:
        peer = record.peer
        try:
            with trio.fail_after(2 * BID_WINDOW_S + 10.0):
                stream = await self._seam.host.open_stream(peer, JOB_PROTOCOL)
        except (Unavailable, RemoteError, trio.TooSlowError) as error:
            self._carry_out(self.auction.unreachable(peer, str(error), trio.current_time()))
            return
        if peer in self._links:
            await stream.reset()  # A call that took its time: the worker was called again meanwhile, and is here.
            return
        link = self._links[peer] = WorkerLink(stream, self._terms.job, digest(self.manifest.body), self, self._pace)
        self.auction.reached(peer)
        reason, broke = "dismissed", False
        with trio.CancelScope() as self._scopes[peer]:
            try:
                self._calls += 1
                link.send(self._terms.call(self._calls))
                await link.converse()
            except Unavailable as error:
                reason = str(error)
            except RemoteError as error:
                reason, broke = str(error), True
                log.warning("%s broke the protocol: %s", peer, error)
        self._gone(link, reason, broke)

    def _gone(self, link: WorkerLink, reason: str, broke: bool) -> None:
        peer = link.peer
        reason, for_good = self._dismissed.pop(peer, (reason, broke))
        self._complaints.pop(peer, None)
        self.bytes_sent += link.channel.bytes_sent
        self.bytes_received += link.channel.bytes_received
        if self._links.get(peer) is link:
            del self._links[peer], self._scopes[peer]
        if link.lease is not None:
            self._owner.note(f"{short(peer)} left: {reason}")
        self._owner.tell(WorkerLost(peer, reason))
        self._carry_out(self.auction.left(peer, reason, trio.current_time(), for_good=for_good))

    # The auction.

    def _tick(self) -> None:
        self._carry_out(self.auction.tick(trio.current_time()))

    def _carry_out(self, effects: Sequence[AuctionEffect]) -> None:
        for effect in effects:
            match effect:
                case CallPeer(record):
                    self._nursery.start_soon(self._session, record)
                case AwardBid():
                    self._award(effect)
                case DeclineBid(peer, bid):
                    self._send(self._links.get(peer), Outbid(call_id=bid.call_id, bid=bid.bid))
                    self.dismiss(peer, "outbid")
                case HangUp(peer, reason):
                    self._hang_up(peer, reason)
        self._timer.rearm()

    def _hang_up(self, peer: PeerId, reason: str) -> None:
        """At once: who has not answered will not read last words. One that is being dialled has no stream yet."""
        if peer in self._scopes:
            self._dismissed[peer] = (reason, False)
            self._scopes[peer].cancel()

    def _award(self, award: AwardBid) -> None:
        link = self._links.get(award.peer)
        if link is None:
            return
        link.lease = LeaseId(f"{self._seam.random.getrandbits(RANDOM_ID_BITS):032x}")
        self._last_leases[award.peer] = link.lease
        link.price, link.slots, link.bid = award.price, award.slots, award.bid
        bid = award.bid
        self._send(
            link,
            Award(
                call_id=bid.call_id,
                bid=bid.bid,
                lease=link.lease,
                price=award.price,
                slots=award.slots,
                manifest=self.manifest,
            ),
        )

    # What workers say (LinkOwner).

    def on_bid(self, link: WorkerLink, bid: Bid) -> None:
        """Into the auction."""
        self._carry_out(self.auction.bid_received(link.peer, bid, trio.current_time()))

    def on_refusal(self, link: WorkerLink, refusal: Refusal) -> None:
        """Into the auction, and the stream is of no more use."""
        self._carry_out(self.auction.refused(link.peer, RefusalReason(refusal.reason), trio.current_time()))
        self.dismiss(link.peer, f"refused: {refusal.reason}")

    def on_ready(self, link: WorkerLink, ready: Ready) -> None:
        """The lease is on: the job may hand chunks out."""
        self.auction.ready(link.peer)
        speed = link.bid.speed if link.bid else 1.0
        clean = self._terms.trust.clean_of(link.peer)
        if clean < 1:
            self._terms.on_stranger(link.peer)
        self._owner.note(f"{short(link.peer)} works with {link.slots} slot(s) at {link.price:.2f} credits/s")
        self._owner.tell(
            WorkerReady(
                link.peer,
                link.slots,
                ready.chunk_credit,
                price=link.price,
                speed=speed,
                party=link.party,
                clean=clean,
                introduced=self._terms.trust.is_introduced(link.peer, ready.introductions),
                platform=ready.environment if self._terms.request.same_platform else None,
            )
        )

    def on_heard(self, link: WorkerLink, running: tuple[ChunkId, ...]) -> None:
        """A sign of life."""
        self.auction.heard(link.peer, trio.current_time())
        self._owner.tell(HeardFrom(link.peer, running))

    def on_result(self, link: WorkerLink, result: CheckedResult) -> None:
        """To the job."""
        if result.log:
            self._owner.on_log(link.peer, result.piece.chunk, result.log)
        self._owner.on_checked_result(link.peer, result)

    def on_failure(self, link: WorkerLink, piece: Piece, failure: Failure, log: bytes) -> None:
        """To the job."""
        if log:
            self._owner.on_log(link.peer, piece.chunk, log)
        self._owner.tell(FailureArrived(link.peer, piece.chunk, failure))

    # What the job wants.

    def assign(self, peer: PeerId, pieces: Sequence[tuple[Piece, bytes]]) -> None:
        """Send chunks to a worker."""
        if (link := self._links.get(peer)) is not None:
            self._guarded(link, lambda: link.assign(pieces))

    def cancel(self, peer: PeerId, chunks: Sequence[ChunkId]) -> None:
        """Tell a worker that chunks are no longer wanted."""
        if (link := self._links.get(peer)) is not None:
            self._guarded(link, lambda: link.cancel(chunks))

    def pay(self, pay: Pay, keep: Callable[[Receipt], None]) -> None:
        """Sign a receipt and send it, or hand it over in `close` where the worker has left; not without a lease.

        Whoever did accepted work is owed its receipt, whether or not it stayed until the end. `keep` writes it down
        before anybody has it: what it raises ends this.
        """
        lease = self._last_leases.get(pay.peer)
        if lease is None:
            return
        receipt = Receipt(
            job=self._terms.job,
            lease=lease,
            sequence=self._receipts,
            worker=pay.peer,
            chunks=pay.chunks,
            credits=pay.credits,
            price=pay.price,
        )
        self._receipts += 1
        keep(receipt)
        message = Receipts(lease=lease, receipt=self._seam.identity.sign(receipt))
        if pay.peer in self._links:
            self._send(self._links[pay.peer], message)
        else:
            self._owed.setdefault(pay.peer, []).append(message)

    def leases(self) -> Mapping[PeerId, LeaseId]:
        """The last lease of each worker."""
        return self._last_leases

    def pay_earlier(self, debt: Debt, keep: Callable[[Receipt], None]) -> None:
        """As `pay`, for a run of this job that was cut off: its receipt is handed over in `close`."""
        receipt = Receipt(
            job=self._terms.job,
            lease=debt.lease,
            sequence=self._receipts,
            worker=debt.peer,
            chunks=(),
            credits=debt.credits,
            price=debt.price,
        )
        self._receipts += 1
        self.earlier_credits += debt.credits
        self.earlier_price += debt.price
        keep(receipt)
        message = Receipts(lease=debt.lease, receipt=self._seam.identity.sign(receipt))
        self._owed.setdefault(debt.peer, []).append(message)

    def dismiss(self, peer: PeerId, reason: str, *, for_good: bool = False) -> None:
        """End the worker's lease after what is queued for it has been sent."""
        if (link := self._links.get(peer)) is not None:
            self._dismissed[peer] = (reason, for_good)
            self._nursery.start_soon(self._see_off, link, reason)

    def complain(self, peer: PeerId, text: str) -> None:
        """What the owner of a worker shall know that has just been dismissed: it goes with its last words."""
        if peer in self._dismissed:
            self._complaints[peer] = text[:SHORT_TEXT_LENGTH_MAX]

    async def _see_off(self, link: WorkerLink, reason: str) -> None:
        last_words = []
        if link.lease is not None:
            complaint = self._complaints.pop(link.peer, "")
            last_words = [Release(lease=link.lease, reason=reason[:SHORT_TEXT_LENGTH_MAX], complaint=complaint)]
        await link.finish(*last_words)
        if self._links.get(link.peer) is link:
            self._scopes[link.peer].cancel()

    async def close(self, reason: str) -> None:
        """See everybody off, and hand over receipts to those who have left, all at once; bounded in time."""
        async with trio.open_nursery() as nursery:
            for link in list(self._links.values()):
                nursery.start_soon(self._see_off, link, reason)
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

    def _send(self, link: WorkerLink | None, message: Outbid | Award | Receipts | Heartbeat) -> None:
        if link is not None:
            self._guarded(link, lambda: link.send(message))

    def _guarded(self, link: WorkerLink, action: Callable[[], None]) -> None:
        """A worker that does not read is let go; its chunks go back when its task ends."""
        try:
            action()
        except Unavailable as error:
            log.info("%s", error)
            self._scopes[link.peer].cancel()

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received so far, framing included."""
        live = [link.channel for link in self._links.values()]
        sent = self.bytes_sent + sum(channel.bytes_sent for channel in live)
        return sent, self.bytes_received + sum(channel.bytes_received for channel in live)
