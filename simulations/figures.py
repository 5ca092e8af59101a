"""The figures and tables of a run, from its book. Nothing here depends on how fast the machine was."""

from collections.abc import Sequence
from math import ceil

from peer.views import JobState
from simulations.book import Book
from simulations.peers import SimulatedPeer
from simulations.result import Row
from simulations.world import Tally


def figures_of(book: Book, peers: Sequence[SimulatedPeer], tally: Tally) -> dict[str, float]:
    """Named sums and means over all jobs and peers."""
    recording = book.recording
    jobs, views = recording.jobs, [job.view for job in recording.jobs if job.view is not None]
    done = sum(view.items_done for view in views)
    spans = [job.ended_at_s - job.submitted_at_s for job in jobs if job.ended_at_s is not None]
    lookups = [float(str(row["duration_s"])) for row in recording.rows("lookups")]
    joins = [peer.joined_after_s for peer in peers if peer.joined_after_s is not None]
    dishonest = {book.number_of[peer] for peer in recording.liars}
    return {
        "peers": len(peers),
        "jobs": len(jobs),
        "jobs_done": sum(view.state is JobState.DONE for view in views),
        "items": sum(job.items for job in jobs),
        "items_done": done,
        "items_failed": sum(view.items_failed for view in views),
        "wrong_accepted": sum(job.wrong for job in jobs),
        "wrong_share": sum(job.wrong for job in jobs) / max(1, done),
        "overhead": sum(view.executions for view in views) / max(1, sum(job.items for job in jobs)),
        "makespan_s": max(spans, default=0.0),
        "makespan_mean_s": sum(spans) / max(1, len(spans)),
        "compute_s": sum(view.compute_s for view in views),
        "speed_up": sum(view.compute_s for view in views) / (sum(spans) or 1.0),
        "audits": sum(view.audits for view in views),
        "mismatches": sum(view.mismatches for view in views),
        "revoked_chunks": sum(view.revoked for view in views),
        "liars": len(recording.liars),
        "liars_caught": len(book.caught),
        "honest_caught": len({book.number_of[peer] for peer in book.caught} - dishonest),
        "credits_given": sum(receipt.credits for receipt in recording.given),
        "credits_got": sum(receipt.credits for receipt in recording.got),
        "messages": tally.count(),
        "bytes_sent": sum(tally.sent_by.values()),
        "lookups": len(lookups),
        "lookup_p50_s": _quantile(lookups, 0.5),
        "lookup_p95_s": _quantile(lookups, 0.95),
        "join_p50_s": _quantile(joins, 0.5),
        "join_p95_s": _quantile(joins, 0.95),
        "sessions": sum(peer.sessions for peer in peers),
        "crashes": sum(peer.crashes for peer in peers),
        "rows_left_out": recording.rows_left_out,
    }


def tables_of(book: Book, peers: Sequence[SimulatedPeer], tally: Tally) -> dict[str, list[Row]]:
    """The tables named in `simulations.result.TABLES`."""
    return {
        "chunks": book.chunk_rows(),
        "peers": [_peer_row(peer, tally) for peer in peers],
        "messages": tally.rows(),
        "lookups": book.recording.rows("lookups"),
        "jobs": [_job_row(book, place) for place in range(len(book.recording.jobs))],
    }


def _peer_row(peer: SimulatedPeer, tally: Tally) -> Row:
    return {
        "number": peer.number,
        "peer": peer.identity.peer_id,
        "kind": peer.kind,
        "reachable": peer.reachable,
        "slots": peer.policy.slots,
        "speed": peer.policy.speed,
        "price": peer.policy.price,
        "sessions": peer.sessions,
        "crashes": peer.crashes,
        "online_s": peer.online_s,
        "joined_after_s": peer.joined_after_s,
        "chunks_run": peer.chunks_run,
        "credits_earned": peer.credits_earned,
        "contacts": peer.contacts,
        "records": peer.records,
        "bytes_sent": tally.sent_by[peer.number],
    }


def _job_row(book: Book, place: int) -> Row:
    job = book.recording.jobs[place]
    view = job.view
    row: Row = {
        "job": job.job,
        "coordinator": job.coordinator,
        "items": job.items,
        "submitted_at_s": job.submitted_at_s,
        "ended_at_s": job.ended_at_s,
        "wrong_accepted": job.wrong,
        "state": "running" if view is None else str(view.state),
    }
    if view is None:
        return row
    return {
        **row,
        "message": view.message,
        "makespan_s": view.elapsed_s,
        "items_done": view.items_done,
        "items_failed": view.items_failed,
        "overhead": view.overhead,
        "speed_up": view.speed_up,
        "audits": view.audits,
        "mismatches": view.mismatches,
        "liars_caught": len(view.liars),
        "revoked_chunks": view.revoked,
        "workers_found": view.funnel.found,
        "workers_awarded": view.funnel.awarded,
        "credits": view.credits,
    }


def _quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all is not above; 0 when there are none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0
