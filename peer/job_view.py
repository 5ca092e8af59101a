"""A job as people see it, put together from its machines at one moment."""

from collections.abc import Mapping, Sequence

import msgspec

from peer.job_plan import plan_of
from peer.job_results import JobResults
from peer.views import Funnel, JobView, WorkerView
from protocol.auction import AuctionMachine, CandidateState
from protocol.chunk import ChunkState
from protocol.ids import PeerId
from protocol.job_machine import JobMachine
from protocol.requirements import closest_in_words
from protocol.worker_book import Tally

_AT_WORK = (ChunkState.LEASED, ChunkState.RUNNING, ChunkState.COMMITTED)

Lacking = Mapping[PeerId, Sequence[str]]


def funnel_of(auction: AuctionMachine, lacking: Lacking) -> Funnel:
    """Found, lacking something, reached, refused (each reason with its count), bid, outbid, awarded."""
    candidates = list(auction.candidates.values())
    return Funnel(
        found=len(auction.candidates.keys() | lacking.keys()),
        lacking=len(lacking),
        reached=sum(one.reached for one in candidates),
        unreachable=sum(one.state is CandidateState.UNREACHABLE for one in candidates),
        refused=auction.refusals(),
        bid=sum(one.ever_bid for one in candidates),
        outbid=sum(one.state is CandidateState.OUTBID for one in candidates),
        awarded=sum(one.ever_awarded for one in candidates),
    )


def funnel_in_words(auction: AuctionMachine, lacking: Lacking, banned: int) -> str:
    """Why there is no worker, in one line, with the way out; `banned`: so many more were found and not called."""
    funnel = funnel_of(auction, lacking)
    if not funnel.found and banned:
        are = "1 peer that offers this is" if banned == 1 else f"all {banned} peers that offer this are"
        return f"{are} banned: `peer trust list` says why, `peer trust forget PEER` ends it"
    if not funnel.found:
        return "the directory knows no other peer that offers this: is --bootstrap right, is another peer running?"
    if not auction.candidates:
        return f"{funnel.found} found: {closest_in_words(lacking)}"
    parts = [f"{funnel.found} found", *([f"{funnel.lacking} lacking something"] if lacking else [])]
    parts += [f"{funnel.reached} reached"]
    parts += [f"{count} refused ({reason})" for reason, count in funnel.refused.items()]
    parts += [f"{funnel.bid} bid", f"{funnel.outbid} outbid", f"{funnel.awarded} awarded"]
    silent = sorted({one.reason for one in auction.candidates.values() if one.state is CandidateState.UNREACHABLE})
    notes = [f"unreachable: {reason}" for reason in silent[:3]] + ([closest_in_words(lacking)] if lacking else [])
    notes += [f"{banned} banned"] if banned else []
    return "; ".join([", ".join(parts), *notes])


def worker_views(machine: JobMachine, auction: AuctionMachine, local: PeerId) -> list[WorkerView]:
    """One line per worker that ever took part, the most useful first."""
    views = [_worker(peer, tally, machine, auction, local) for peer, tally in machine.workers.tallies.items()]
    return sorted(views, key=lambda view: (-view.items_done, view.peer))


def _worker(peer: PeerId, tally: Tally, machine: JobMachine, auction: AuctionMachine, local: PeerId) -> WorkerView:
    offer = machine.workers.offers[peer]
    candidate = auction.candidates.get(peer)
    claimed = max(0.0, tally.compute_s * offer.speed - tally.credits)
    return WorkerView(
        peer=peer,
        state=_state(tally),
        slots=offer.slots,
        speed=offer.speed,
        price=tally.price,
        chunks_done=tally.chunks,
        items_done=tally.items,
        compute_s=tally.compute_s,
        handed_over=tally.handed_over,
        failures=tally.failures,
        audits=tally.audits,
        revoked=tally.revoked,
        credits=tally.credits,
        pending=0.0 if tally.banned else claimed,
        forfeited=claimed if tally.banned else 0.0,
        fault=candidate.record.fault if candidate else None,
        local=peer == local,
    )


def _state(tally: Tally) -> str:
    if tally.banned is not None:
        return f"banned: {tally.banned}"
    return f"left: {tally.left}" if tally.left is not None else "working"


def _chunks(machine: JobMachine) -> dict[str, int]:
    """Chunks by state. Once a job has ended nobody is at work on those that are not done."""
    counts = machine.book.counts()
    if machine.ended is None:
        return counts
    left = sum(counts.pop(state, 0) for state in (ChunkState.PENDING, *_AT_WORK))
    return {"pending": left, **counts} if left else counts


def measured(view: JobView, machine: JobMachine, results: JobResults, *, so_far: bool = False) -> JobView:
    """The view with all that is counted or summed; `so_far`: with the bound that holds for what there is."""
    court, tallies = machine.court, machine.workers.tallies.values()
    executions = sum(tally.items for tally in tallies) + court.audited_items
    done = results.items_done + results.items_failed
    total_s = sum(tally.compute_s for tally in tallies) + court.audit_compute_s
    return msgspec.structs.replace(
        view,
        items_done=results.items_done,
        items_failed=results.items_failed,
        chunks=_chunks(machine),
        executions=executions,
        compute_s=results.compute_s,
        compute_total_s=total_s,
        speed_up=results.compute_s / view.elapsed_s if view.elapsed_s > 0 else 0.0,
        overhead=executions / done if done else 0.0,
        **plan_of(machine, so_far=so_far),
        audits=court.audits,
        votes=court.votes,
        mismatches=court.mismatches,
        liars=sorted(peer for peer, tally in machine.workers.tallies.items() if tally.lied),
        revoked=court.revoked,
        price=sum(tally.price for tally in tallies),
        credits=sum(tally.credits for tally in tallies),
    )
