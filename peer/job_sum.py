"""The figures of a job that was run in parts, one part after another, as one view."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from peer.views import JobView, WorkerView

STORY_LINES_MAX = 200
_STAY = ("accepted", "failed", "split")
_COUNT = ("voted", "audited", "trusted")
"""Where a run was cut off these were not final yet, but are in the journal."""


def joined(before: JobView, run: JobView, *, kept: int, suspects: Collection[str]) -> JobView:
    """`before` and then `run`, which did again all but `kept` items; `suspects` are peers found lying in between.

    State, message and auction are those of `run`. Items done and failed, and how often this happened, are left for the
    caller, who knows. A run that was killed may have saved its results and not yet its figures: what is kept of it was
    executed once at least.
    """
    elapsed_s = before.elapsed_s + run.elapsed_s
    compute_s = before.compute_s * kept / max(1, before.items_done + before.items_failed) + run.compute_s
    return msgspec.structs.replace(
        run,
        submitted_at_unix_s=before.submitted_at_unix_s,
        items=before.items,
        elapsed_s=elapsed_s,
        workers=_workers(before.workers, run.workers, suspects),
        chunks=_chunks(before.chunks, run.chunks),
        executions=max(before.executions, kept) + run.executions,
        compute_s=compute_s,
        compute_total_s=before.compute_total_s + run.compute_total_s,
        speed_up=compute_s / elapsed_s if elapsed_s > 0 else 0.0,
        error_bound=_bound(before, run, kept),
        audits=before.audits + run.audits,
        votes=before.votes + run.votes,
        mismatches=before.mismatches + run.mismatches,
        liars=sorted({*before.liars, *run.liars, *suspects}),
        revoked=before.revoked + run.revoked,
        price=before.price + run.price,
        credits=before.credits + run.credits,
        bytes_sent=before.bytes_sent + run.bytes_sent,
        bytes_received=before.bytes_received + run.bytes_received,
        events=[*before.events, *run.events][-STORY_LINES_MAX:],
    )


def _chunks(before: Mapping[str, int], run: Mapping[str, int]) -> dict[str, int]:
    """What was open at the end of the first run was never done."""
    stayed = {state: number for state, number in before.items() if state in _STAY}
    if counted := sum(before.get(state, 0) for state in _COUNT):
        stayed["accepted"] = stayed.get("accepted", 0) + counted
    return {**stayed, **{state: number + stayed.get(state, 0) for state, number in run.items()}}


def _bound(before: JobView, run: JobView, kept: int) -> float | None:
    """The share of wrong results that is to be expected: that of each part, by its number of items.

    What a run that was cut off had in the journal, and not yet in its figures, is taken for checked by nobody: how that
    was checked died with the run.
    """
    done = run.items_done + run.items_failed
    if run.error_bound is None and (done or not run.state.is_final):
        return None
    if not kept:
        return run.error_bound
    known = min(kept, before.items_done + before.items_failed) if before.error_bound is not None else 0
    wrong = (before.error_bound or 0.0) * known + before.assume_liars * (kept - known)
    return (wrong + (run.error_bound or 0.0) * done) / (kept + done)


def _workers(before: Sequence[WorkerView], run: Sequence[WorkerView], suspects: Collection[str]) -> list[WorkerView]:
    views = {one.peer: _as_of_then(one, suspects) for one in before}
    for one in run:
        views[one.peer] = _added(views[one.peer], one) if one.peer in views else one
    return sorted(views.values(), key=lambda one: (-one.items_done, one.peer))


def _as_of_then(one: WorkerView, suspects: Collection[str]) -> WorkerView:
    """Nobody works any more for a run that is over, or is still to be paid for it."""
    if one.peer in suspects:
        state = "banned: found lying since"
    else:
        state = "left: the earlier run had ended" if one.state == "working" else one.state
    return msgspec.structs.replace(one, state=state, pending=0.0)


def _added(then: WorkerView, now: WorkerView) -> WorkerView:
    return msgspec.structs.replace(
        now,
        chunks_done=then.chunks_done + now.chunks_done,
        items_done=then.items_done + now.items_done,
        compute_s=then.compute_s + now.compute_s,
        handed_over=then.handed_over + now.handed_over,
        failures=then.failures + now.failures,
        audits=then.audits + now.audits,
        revoked=then.revoked + now.revoked,
        credits=then.credits + now.credits,
        price=then.price + now.price,
    )
