"""The workers of one job: finds them in the directory, calls them, awards leases, holds their links.

Drives the auction's machine and keeps no rule of its own.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import trio

from dht.directory import Directory
from peer.deadline import DeadlineTimer
from peer.hand_outs import HandOuts, LeaseNotes
from peer.hand_over import CheckedResult
from peer.job_terms import JobTerms, PoolOwner
from peer.lease_book import HeldLease
from peer.pool_payments import PoolPayments
from peer.seam import Seam
from peer.worker_link import RESULT_BATCHES_PER_PASS_MAX, WorkerLink
from protocol.auction import AuctionEffect, AuctionMachine, AuctionRules, AwardBid, CallPeer, DeclineBid, HangUp
from protocol.capability import Capability
from protocol.chunk import Failure
from protocol.errors import LocalError, RemoteError, Unavailable
from protocol.ids import RANDOM_ID_BITS, ChunkId, LeaseId, PeerId, digest, short
from protocol.job_events import FailureArrived, HeardFrom, KeptOffered, Piece, WorkerLost, WorkerReady
from protocol.limits import BID_WINDOW_S, HAND_OVER_S_MAX, HEARTBEAT_INTERVAL_S, SHORT_TEXT_LENGTH_MAX
from protocol.messages.job import (
    Award,
    Bid,
    Outbid,
    Ready,
    Receipts,
    Refusal,
    RefusalReason,
    Release,
)
from protocol.messages.kept import KeptChunk
from protocol.network import JOB_PROTOCOL

log = logging.getLogger(__name__)

SEARCH_AGAIN_S = 10.0
SEARCH_AGAIN_ALONE_S = 1.0
FOUND_PER_WORKER_WANTED = 4
ANSWERS_REMEMBERED_MAX = 65_536
"""Chunks whose workers hear that they are settled; of others they keep results for longer than they need."""


class WorkerPool:
    """Runs until cancelled; `run` owns every task that talks to a worker."""

    def __init__(self, seam: Seam, directory: Directory, terms: JobTerms, outs: HandOuts, owner: PoolOwner) -> None:
        self._seam = seam
        self._directory = directory
        self._terms = terms
        self._outs = outs
        self._owner = owner
        self._links: dict[PeerId, WorkerLink] = {}
        self._scopes: dict[PeerId, trio.CancelScope] = {}
        self._answered: OrderedDict[ChunkId, list[WorkerLink]] = OrderedDict()
        """Who has given a result of a chunk that is not settled yet."""
        self._handing: dict[PeerId, WorkerLink] = {}
        """Who has kept something of an earlier run."""
        self._dismissed: dict[PeerId, tuple[str, bool]] = {}
        self._complaints: dict[PeerId, str] = {}
        self.payments = PoolPayments(seam, terms.job, self._send_receipts)
        self.manifest = terms.manifest
        self._calls = 0
        self.lacking: dict[PeerId, list[str]] = {}
        """What those found last lack that were not called for it."""
        self.banned_found = 0
        """How many of those found last were not called because they are banned."""
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
                self._guarded(link, link.beat)

    async def _session(self, record: Capability) -> None:
        peer = record.peer
        if (before := self._links.get(peer)) is not None:
            await before.ended.wait()  # It is still handing over what it has kept.
        try:
            with trio.fail_after(2 * BID_WINDOW_S + 10.0):
                stream = await self._seam.host.open_stream(peer, JOB_PROTOCOL)
        except (Unavailable, RemoteError, trio.TooSlowError) as error:
            self._carry_out(self.auction.unreachable(peer, str(error), trio.current_time()))
            return
        if peer in self._links:
            await stream.reset()  # A call that took its time: the worker was called again meanwhile, and is here.
            return
        manifest = digest(self.manifest.body)
        link = self._links[peer] = WorkerLink(stream, self._terms.job, manifest, self, self._outs, self._pace)
        self.auction.reached(peer)
        reason, broke = "dismissed", False
        with trio.CancelScope() as self._scopes[peer]:
            try:
                self._calls += 1
                link.send(self._terms.call(self._calls, takes_kept=self._outs.notes is not None))
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
            self._handing.pop(peer, None)
        if link.lease is not None:
            self._end_lease(link.lease)
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
                    self.dismiss(peer, "outbid", patiently=True)
                case HangUp(peer, reason):
                    self._hang_up(peer, reason)
        self._timer.rearm()

    def _hang_up(self, peer: PeerId, reason: str) -> None:
        """At once: who has not answered will not read last words. One that is being dialled has no stream yet.

        Who is being seen off, which may take as long as a hand-over, is called once that is over.
        """
        if peer in self._scopes and peer not in self._dismissed:
            self._dismissed[peer] = (reason, False)
            self._scopes[peer].cancel()

    def _award(self, award: AwardBid) -> None:
        link = self._links.get(award.peer)
        if link is None:
            return
        link.lease = LeaseId(f"{self._seam.random.getrandbits(RANDOM_ID_BITS):032x}")
        self.payments.leased(award.peer, link.lease)
        link.price, link.slots, link.bid = award.price, award.slots, award.bid
        self._note_lease(HeldLease(link.lease, award.peer, award.price, award.bid.speed))
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

    def _note_lease(self, held: HeldLease) -> None:
        """Before anybody has it. Where it cannot be written down, what its worker keeps will be refused; no more."""
        if self._outs.notes is not None:
            _or_logged(lambda notes: notes.add(held), self._outs.notes)

    def _end_lease(self, lease: LeaseId) -> None:
        if self._outs.notes is not None:
            _or_logged(lambda notes: notes.end(lease), self._outs.notes)

    # What workers say (LinkOwner).

    def on_bid(self, link: WorkerLink, bid: Bid) -> None:
        """Into the auction."""
        self._carry_out(self.auction.bid_received(link.peer, bid, trio.current_time()))

    def on_refusal(self, link: WorkerLink, refusal: Refusal) -> None:
        """Into the auction, and the stream is of no more use."""
        self._carry_out(self.auction.refused(link.peer, RefusalReason(refusal.reason), trio.current_time()))
        self.dismiss(link.peer, f"refused: {refusal.reason}", patiently=True)

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
        if self._outs.notes is not None and not result.kept:
            self._answered.setdefault(result.piece.chunk, []).append(link)
            if len(self._answered) > ANSWERS_REMEMBERED_MAX:
                self._answered.popitem(last=False)
        self._owner.on_checked_result(link.peer, result)
        if result.kept and not link.hand_over.is_awaited:
            count, link.hand_over.handed_over = link.hand_over.handed_over, 0
            self._owner.note(f"{short(link.peer)} handed over {count} result{'s' * (count != 1)} that it had kept")

    def on_kept(self, link: WorkerLink, kept: KeptChunk, place: tuple[int, int]) -> None:
        """To the job, on the terms of then."""
        held = self._outs.terms_of(link.peer, kept.lease)
        assert held is not None
        self._handing[link.peer] = link
        clean = self._terms.trust.clean_of(link.peer)
        if clean < 1:
            self._terms.on_stranger(link.peer)
        self.payments.leased_before(link.peer, held.lease)
        platform = kept.environment if self._terms.request.same_platform else None
        terms = WorkerReady(
            link.peer,
            max(1, link.slots),
            1,
            price=held.price,
            speed=held.speed,
            party=link.party,
            clean=clean,
            platform=platform,
        )
        self._owner.tell(KeptOffered(terms, *place, running=kept.running))

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

    def settled(self, chunk: ChunkId) -> None:
        """A result of the chunk is in the books: those who have one of it need not keep theirs."""
        for link in self._answered.pop(chunk, ()):
            link.settled(chunk)
        for link in list(self._handing.values()):
            self._guarded(link, partial(link.hand_over.settled, chunk))

    def want_kept(self, peer: PeerId, piece: Piece) -> None:
        """Have what the worker has kept of this piece handed over."""
        if (link := self._links.get(peer)) is not None:
            self._guarded(link, lambda: link.hand_over.want(piece))

    def refuse_kept(self, peer: PeerId, place: tuple[int, int]) -> None:
        """What the worker has kept of these places is of no use."""
        if (link := self._links.get(peer)) is not None:
            self._guarded(link, lambda: link.hand_over.refuse(place))

    def _send_receipts(self, peer: PeerId, receipts: Receipts) -> bool:
        if (link := self._links.get(peer)) is None or link.is_seen_off:
            return False
        self._send(link, receipts)
        return True

    def dismiss(self, peer: PeerId, reason: str, *, for_good: bool = False, patiently: bool = False) -> None:
        """End the worker's lease after what is queued for it has been sent; `patiently`: and after its hand-over."""
        if (link := self._links.get(peer)) is not None:
            self._dismissed[peer] = (reason, for_good)
            if link.lease is not None:
                self._end_lease(link.lease)
            self._nursery.start_soon(self._see_off, link, reason, patiently)

    def complain(self, peer: PeerId, text: str) -> None:
        """What the owner of a worker shall know that has just been dismissed: it goes with its last words."""
        if peer in self._dismissed:
            self._complaints[peer] = text[:SHORT_TEXT_LENGTH_MAX]

    async def _see_off(self, link: WorkerLink, reason: str, patiently: bool = False) -> None:
        if patiently:
            with trio.move_on_after(HAND_OVER_S_MAX):
                await link.hand_over.wait_idle()
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
            self.payments.hand_over_later(nursery)

    def _send(self, link: WorkerLink | None, message: Outbid | Award | Receipts) -> None:
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


def _or_logged(action: Callable[[LeaseNotes], None], notes: LeaseNotes) -> None:
    try:
        action(notes)
    except LocalError as error:
        log.warning("a lease could not be noted: %s", error)
