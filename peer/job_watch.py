"""What a running job does at this moment, added to its view: who holds what, what it waits for, the auction."""

import math

import msgspec

from peer.trust_book import PAIRED_CLEAN
from peer.views import CandidateView, JobView, WorkerView
from protocol.auction import AuctionMachine, Candidate, CandidateState
from protocol.ids import PeerId
from protocol.job_machine import JobMachine
from protocol.wait_words import Books, seconds_left, waits_in_words
from protocol.worker_book import Tally, WorkerBook

_ORDER = {state: place for place, state in enumerate(reversed(CandidateState))}
_WAITING = (CandidateState.REFUSED, CandidateState.UNREACHABLE, CandidateState.OUTBID, CandidateState.LEFT)


def watched(view: JobView, machine: JobMachine, auction: AuctionMachine, now: float) -> JobView:
    """`view` with what holds at `now`, in the clock of the machines; for an ended job the auction alone."""
    candidates = candidate_views(auction, machine.workers, now)
    if view.state.is_final:
        candidates = [msgspec.structs.replace(one, again_s=None) for one in candidates]
        return msgspec.structs.replace(view, candidates=candidates)
    books = books_of(machine, view.overhead)
    return msgspec.structs.replace(
        view,
        candidates=candidates,
        workers=[_at_work(one, machine.workers, now) for one in view.workers],
        waits=waits_in_words(books, now),
        left_s=seconds_left(books, now),
    )


def books_of(machine: JobMachine, overhead: float) -> Books:
    """What the words are made from; `overhead`: executions per item so far."""
    expected = max(machine.rules.policy.replicas, overhead)
    return Books(machine.book, machine.workers, machine.estimate, expected, machine.court.audits_pending)


def candidate_views(auction: AuctionMachine, workers: WorkerBook, now: float) -> list[CandidateView]:
    """One line per peer that the auction knows, those that came furthest first; bounded as the auction is."""
    known = sorted(auction.candidates.values(), key=lambda one: (_ORDER[_stage(one)], one.record.peer))
    return [_candidate(one, workers, now) for one in known]


def _stage(one: Candidate) -> CandidateState:
    """Those that left worked once: they go before those that were never called."""
    return CandidateState.AWARDED if one.state is CandidateState.LEFT else one.state


def _candidate(one: Candidate, workers: WorkerBook, now: float) -> CandidateView:
    record, terms = one.record, one.bid or one.record
    rests = one.state in _WAITING and one.again_at < math.inf
    offer, tally = workers.offers.get(record.peer), workers.tallies.get(record.peer, Tally())
    return CandidateView(
        peer=record.peer,
        state=one.state,
        reason=one.reason if one.state in _WAITING else "",
        price=terms.price,
        paid=offer.price if offer is not None else None,
        speed=terms.speed,
        slots=terms.slots,
        clean=tally.clean,
        paired=tally.clean_before >= PAIRED_CLEAN,
        again_s=max(0.0, one.again_at - now) if rests else None,
        fault=record.fault,
    )


def _at_work(view: WorkerView, workers: WorkerBook, now: float) -> WorkerView:
    state = workers.active.get(PeerId(view.peer))
    if state is None:
        return view
    given = min(state.outstanding.values(), default=None)
    return msgspec.structs.replace(
        view,
        chunks_now=len(state.outstanding),
        oldest_s=None if given is None else now - given,
        heard_s=None if view.local else now - state.last_heard,
    )
