"""The coordinator's side of the auction: a contract net (Smith 1980), DESIGN section 6.

Peers found are called, a few at a time; each answers with a sealed bid or a refusal with its reason.
When all have answered, or the window is over, the best bids win and the others are told so. Peers found
later, and those that were busy or out of reach, are called again while work remains.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from protocol.capability import Capability
from protocol.ids import PeerId
from protocol.limits import (
    BID_WINDOW_S,
    BIDS_PER_CALL_MAX,
    CALLS_CONCURRENT_MAX,
    HEARTBEAT_INTERVAL_S,
    HEARTBEATS_MISSED_MAX,
)
from protocol.messages.job import Bid, RefusalReason
from protocol.scoring import Terms, clearing_price, score

SILENCE_S_MAX = HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED_MAX
RECALL_S_MIN = 0.25
RECALL_S_MAX = 10.0
"""A peer that refused, lost, left or could not be reached is left alone for so long: doubling each time."""
ANSWER_S_MAX = 20.0
"""How long a call may go without bid or refusal, dialling included: who is mute must not keep others from theirs."""
PREPARE_S_MAX = 600.0
"""How long a winner may take to be ready; until then it must send heartbeats as in a lease."""

FINAL_REFUSALS = frozenset(
    {
        RefusalReason.RUNTIME_NOT_OFFERED,
        RefusalReason.PRICE_TOO_LOW,
        RefusalReason.NOT_ACCEPTED,
        RefusalReason.REQUIREMENTS,
        RefusalReason.BAD_MANIFEST,
    }
)
"""Policy does not change within a job; capacity does."""


class CandidateState(StrEnum):
    """How far a peer has come."""

    FOUND = "found"
    CALLED = "called"
    BID = "bid"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    OUTBID = "outbid"
    AWARDED = "awarded"
    LEFT = "left"


_RESTING = (CandidateState.REFUSED, CandidateState.UNREACHABLE, CandidateState.OUTBID, CandidateState.LEFT)


@dataclass(frozen=True, slots=True)
class CallPeer:
    """Open a stream to the peer and send it the call."""

    record: Capability


@dataclass(frozen=True, slots=True)
class AwardBid:
    """The bid won, at this price, for so many slots."""

    peer: PeerId
    bid: Bid
    price: float
    slots: int


@dataclass(frozen=True, slots=True)
class DeclineBid:
    """The bid lost."""

    peer: PeerId
    bid: Bid


@dataclass(frozen=True, slots=True)
class HangUp:
    """The peer has not said in time what it should have said: end its stream."""

    peer: PeerId
    reason: str


AuctionEffect = CallPeer | AwardBid | DeclineBid | HangUp


@dataclass(slots=True)
class Candidate:
    """One peer in the auction of one job."""

    record: Capability
    state: CandidateState = CandidateState.FOUND
    bid: Bid | None = None
    reason: str = ""
    reached: bool = False
    ever_bid: bool = False
    ever_awarded: bool = False
    again_at: float = 0.0
    rests: int = 0
    answer_by: float = math.inf
    """When a call without an answer, or a winner that is not ready, is given up."""
    ready_by: float = math.inf


@dataclass(frozen=True, slots=True)
class AuctionRules:
    """What the job asks for."""

    slots_wanted: int
    workers_max: int
    price_max: float


class AuctionMachine:
    """One job's auction, over as many rounds as the job lasts. Methods return effects; time is an argument."""

    def __init__(self, rules: AuctionRules, clean_of: Callable[[PeerId], int] = lambda _: 0) -> None:
        self.rules = rules
        self.candidates: dict[PeerId, Candidate] = {}
        self._clean_of = clean_of
        self._window_ends: float | None = None

    def found(self, records: Iterable[Capability], now: float) -> tuple[AuctionEffect, ...]:
        """Peers that offer what the job needs; known ones are called again when their time has come."""
        for record in sorted(records, key=lambda one: one.peer):
            known = self.candidates.get(record.peer)
            if known is not None:
                known.record = record
            elif len(self.candidates) < BIDS_PER_CALL_MAX:
                self.candidates[record.peer] = Candidate(record)
        return self._call_more(now)

    def reached(self, peer: PeerId) -> None:
        """The stream to the peer is open."""
        self.candidates[peer].reached = True

    def bid_received(self, peer: PeerId, bid: Bid, now: float) -> tuple[AuctionEffect, ...]:
        """A sealed bid; one above the maximum price loses at once."""
        candidate = self.candidates[peer]
        candidate.ever_bid = True
        if bid.price > self.rules.price_max:
            self._rest(candidate, CandidateState.OUTBID, "bid above the maximum price", now)
            return (DeclineBid(peer, bid), *self._call_more(now))
        candidate.state, candidate.bid, candidate.answer_by = CandidateState.BID, bid, math.inf
        return (*self._call_more(now), *self._close_when_due(now))

    def heard(self, peer: PeerId, now: float) -> None:
        """A heartbeat: a winner that is not ready yet lives."""
        candidate = self.candidates[peer]
        if candidate.answer_by < math.inf:
            candidate.answer_by = min(now + SILENCE_S_MAX, candidate.ready_by)

    def ready(self, peer: PeerId) -> None:
        """The lease is on: from now on the job watches over the worker."""
        self.candidates[peer].answer_by = math.inf

    def refused(self, peer: PeerId, reason: RefusalReason, now: float) -> tuple[AuctionEffect, ...]:
        """No bid, or no lease after all."""
        candidate = self.candidates[peer]
        self._rest(candidate, CandidateState.REFUSED, str(reason), now)
        if reason in FINAL_REFUSALS:
            candidate.again_at = float("inf")
        return (*self._call_more(now), *self._close_when_due(now))

    def unreachable(self, peer: PeerId, reason: str, now: float) -> tuple[AuctionEffect, ...]:
        """The peer could not be dialled or did not answer."""
        self._rest(self.candidates[peer], CandidateState.UNREACHABLE, reason, now)
        return (*self._call_more(now), *self._close_when_due(now))

    def left(self, peer: PeerId, reason: str, now: float, *, for_good: bool = False) -> tuple[AuctionEffect, ...]:
        """A bidder or a worker is gone; `for_good` when it was caught."""
        candidate = self.candidates[peer]
        if candidate.state in (CandidateState.CALLED, CandidateState.BID, CandidateState.AWARDED):
            self._rest(candidate, CandidateState.LEFT, reason, now)
        if for_good:
            candidate.again_at = float("inf")
        return (*self._call_more(now), *self._close_when_due(now))

    def tick(self, now: float) -> tuple[AuctionEffect, ...]:
        """A deadline has passed."""
        late = [one for one in self._in(CandidateState.CALLED, CandidateState.AWARDED) if one.answer_by <= now]
        return (*(self._hang_up(one, now) for one in late), *self._call_more(now), *self._close_when_due(now))

    def _hang_up(self, candidate: Candidate, now: float) -> HangUp:
        called = candidate.state is CandidateState.CALLED
        reason = f"no answer to the call in {ANSWER_S_MAX:.0f} s" if called else "won, but was not ready in time"
        self._rest(candidate, CandidateState.UNREACHABLE, reason, now)
        candidate.again_at = now + RECALL_S_MAX
        return HangUp(candidate.record.peer, reason)

    def next_deadline(self) -> float | None:
        """When to tick at the latest: the end of the round, or the next peer to call again."""
        moments = [one.answer_by for one in self._in(CandidateState.CALLED, CandidateState.AWARDED)]
        if self._window_ends is not None:
            moments.append(self._window_ends)
        if self._places_left() and self._calls_free():
            # With no call free, the end of one is what makes room: a deadline that has passed would spin until then.
            moments += [one.again_at for one in self._in(*_RESTING)]
        soonest = min(moments, default=math.inf)
        return None if soonest == math.inf else soonest

    def _rest(self, candidate: Candidate, state: CandidateState, reason: str, now: float) -> None:
        candidate.state, candidate.reason, candidate.bid, candidate.answer_by = state, reason, None, math.inf
        candidate.again_at = now + min(RECALL_S_MAX, RECALL_S_MIN * 2**candidate.rests)
        candidate.rests = min(candidate.rests + 1, 16)

    def _in(self, *states: CandidateState) -> list[Candidate]:
        return [one for one in self.candidates.values() if one.state in states]

    def _places_left(self) -> int:
        awarded = self._in(CandidateState.AWARDED)
        slots = sum(one.bid.slots for one in awarded if one.bid)
        return 0 if slots >= self.rules.slots_wanted else max(0, self.rules.workers_max - len(awarded))

    def _calls_free(self) -> int:
        return max(0, CALLS_CONCURRENT_MAX - len(self._in(CandidateState.CALLED)))

    def _call_more(self, now: float) -> tuple[AuctionEffect, ...]:
        if self._places_left() == 0:
            return ()
        may = [one for one in self.candidates.values() if self._may_be_called(one, now)]
        # Those that have waited longest first, so that whoever never answers does not come before the others again.
        ready = sorted(may, key=lambda one: one.again_at)[: self._calls_free()]
        for candidate in ready:
            candidate.state, candidate.answer_by = CandidateState.CALLED, now + ANSWER_S_MAX
        if ready and self._window_ends is None:
            self._window_ends = now + BID_WINDOW_S
        return tuple(CallPeer(candidate.record) for candidate in ready)

    def _may_be_called(self, one: Candidate, now: float) -> bool:
        return one.state is CandidateState.FOUND or (one.state in _RESTING and now >= one.again_at)

    # The end of a round.

    def _close_when_due(self, now: float) -> tuple[AuctionEffect, ...]:
        waiting = self._in(CandidateState.CALLED)
        if waiting and self._window_ends is not None and now < self._window_ends:
            return ()
        self._window_ends = None
        return tuple(self._award(now))

    def _award(self, now: float) -> Iterable[AuctionEffect]:
        bidders = sorted(self._in(CandidateState.BID), key=lambda one: (self._score(one), one.record.peer))
        winners, losers = self._divide(bidders)
        losing = self._score(losers[0]) if losers else None
        for one, slots in winners:
            assert one.bid is not None
            one.state, one.ever_awarded, one.rests = CandidateState.AWARDED, True, 0
            one.answer_by, one.ready_by = now + SILENCE_S_MAX, now + PREPARE_S_MAX
            price = clearing_price(self._terms(one), losing, self.rules.price_max)
            yield AwardBid(one.record.peer, one.bid, price, slots)
        for one in losers:
            assert one.bid is not None
            bid = one.bid
            self._rest(one, CandidateState.OUTBID, "outbid", now)
            yield DeclineBid(one.record.peer, bid)

    def _divide(self, bidders: list[Candidate]) -> tuple[list[tuple[Candidate, int]], list[Candidate]]:
        awarded = self._in(CandidateState.AWARDED)
        slots = self.rules.slots_wanted - sum(one.bid.slots for one in awarded if one.bid)
        places = self.rules.workers_max - len(awarded)
        winners: list[tuple[Candidate, int]] = []
        for one in bidders:
            assert one.bid is not None
            if slots <= 0 or len(winners) >= places:
                break
            winners.append((one, min(one.bid.slots, slots)))
            slots -= one.bid.slots
        return winners, bidders[len(winners) :]

    def _terms(self, one: Candidate) -> Terms:
        assert one.bid is not None
        return Terms(price=one.bid.price, speed=one.bid.speed, clean=self._clean_of(one.record.peer))

    def _score(self, one: Candidate) -> float:
        return score(self._terms(one))

    # What people ask.

    def refusals(self) -> dict[str, int]:
        """Each reason with its count, the most frequent first."""
        return dict(Counter(one.reason for one in self._in(CandidateState.REFUSED)).most_common())
