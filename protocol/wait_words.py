"""What a job waits for and why, in plain words, and how long the rest will take: read from its books, changing nothing.

Peers are named by their whole id, for whoever shows the lines to shorten.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.chunk import Chunk
from protocol.chunk_book import ChunkBook
from protocol.ids import ChunkId, PeerId
from protocol.limits import HEARTBEAT_INTERVAL_S
from protocol.scheduling import Estimate, hedge_after_s
from protocol.worker_book import SILENCE_S_MAX, WorkerBook, WorkerState

LATE_WORKERS_TOLD_MAX = 5
COPIES_TOLD_MAX = 3
SILENCE_TOLD_S = 2 * HEARTBEAT_INTERVAL_S
"""One heartbeat that is late is no news."""


@dataclass(frozen=True, slots=True)
class Books:
    """What is known of a job at one moment."""

    chunks: ChunkBook
    workers: WorkerBook
    estimate: Estimate
    executions: float
    """How many an item is expected to take."""
    audits_pending: int = 0


@dataclass(frozen=True, slots=True)
class Late:
    """Chunks that run on one worker for longer than others took."""

    worker: WorkerState
    chunks: tuple[Chunk, ...]
    since: float
    """When the oldest of them began, at the earliest."""


def waits_in_words(books: Books, now: float) -> list[str]:
    """One line for each thing that is waited for, the most telling first; at `now` in the clock of the books."""
    late = late_workers(books, now)
    told = {chunk.id for one in late for chunk in one.chunks}
    lines = [_late_line(one, books, now) for one in late[:LATE_WORKERS_TOLD_MAX]]
    if len(late) > LATE_WORKERS_TOLD_MAX:
        lines.append(f"{len(late) - LATE_WORKERS_TOLD_MAX} more workers are late as well")
    lines += _silent_lines(books, now)
    lines += _running_line(books, told)
    lines += _lacking_lines(books)
    return lines


def late_workers(books: Books, now: float) -> list[Late]:
    """Who has run a chunk for longer than a second copy would wait for, the longest first."""
    late = []
    for worker in books.workers.active.values():
        over = list(_overdue(worker, books, now))
        if over:
            late.append(Late(worker, tuple(chunk for _, chunk in over), min(since for since, _ in over)))
    return sorted(late, key=lambda one: (one.since, one.worker.peer))


def _overdue(worker: WorkerState, books: Books, now: float) -> Iterator[tuple[float, Chunk]]:
    for place, chunk_id in enumerate(worker.outstanding):
        chunk = books.chunks.open[chunk_id]
        since = worker.since(place, chunk_id)
        if since is not None and now - since > hedge_after_s(chunk.count, books.estimate.item_s):
            yield since, chunk


def seconds_left(books: Books, now: float) -> float | None:
    """How long the rest takes with the workers at hand, by what was seen; None where nothing was, or nobody works.

    Who is late is not counted on.
    """
    item_s = books.estimate.item_s
    if item_s is None or not books.workers.active:
        return None
    executions = float(books.chunks.uncut * books.executions)
    longest_s = 0.0
    for chunk in books.chunks.open.values():
        executions += chunk.count * chunk.lacking
        for replica in chunk.live.values():
            rest_s = max(0.0, chunk.count * item_s - (now - replica.assigned_at))
            longest_s = max(longest_s, rest_s)
            executions += rest_s / item_s if item_s else 0.0
    late_slots = sum(one.worker.offer.slots for one in late_workers(books, now))
    return max(longest_s, executions * item_s / max(1, books.workers.slots - late_slots))


# The lines.


def _late_line(late: Late, books: Books, now: float) -> str:
    number = len(late.chunks)
    runs = "1 chunk runs" if number == 1 else f"{number} chunks run"
    return f"{runs} on {_name(late.worker)} since {_s(now - late.since)}{_others(late, books)}: {_copies(late, books)}"


def _others(late: Late, books: Books) -> str:
    if books.estimate.item_s is None:
        return ""
    return f", others took {_s(books.estimate.item_s * max(chunk.count for chunk in late.chunks))}"


def _copies(late: Late, books: Books) -> str:
    me = late.worker.peer
    takers = sorted({peer for chunk in late.chunks for peer in chunk.live if peer != me})
    if takers:
        names = ", ".join(_name(books.workers.active[peer]) for peer in takers[:COPIES_TOLD_MAX])
        more = f" and {len(takers) - COPIES_TOLD_MAX} more" if len(takers) > COPIES_TOLD_MAX else ""
        return f"a second copy was given to {names}{more}"
    if books.chunks.uncut:
        return "second copies are given once all work is handed out"
    if not any(_may_take(books, chunk, me) for chunk in late.chunks):
        return "nobody else here may take a second copy"
    return "whoever is idle first gets a second copy"


def _may_take(books: Books, chunk: Chunk, but: PeerId) -> bool:
    others = (worker.offer for worker in books.workers.active.values() if worker.peer != but)
    return any(chunk.may_go_to(offer.peer, offer.party, offer.platform) for offer in others)


def _silent_lines(books: Books, now: float) -> list[str]:
    silent = [
        worker
        for worker in books.workers.active.values()
        if not worker.offer.local and worker.outstanding and now - worker.last_heard > SILENCE_TOLD_S
    ]
    return [
        f"{worker.peer} was last heard from {_s(now - worker.last_heard)} ago: after {_s(SILENCE_S_MAX)} "
        f"what it has goes to others"
        for worker in sorted(silent, key=lambda worker: (worker.last_heard, worker.peer))
    ]


def _running_line(books: Books, told: set[ChunkId]) -> list[str]:
    out = [chunk for chunk in books.chunks.open.values() if chunk.live and chunk.id not in told]
    if not out:
        return []
    holders = {peer for chunk in out for peer in chunk.live}
    one = next(iter(holders))
    where = _name(books.workers.active[one]) if len(holders) == 1 else f"{len(holders)} workers"
    return [f"{_chunks(len(out))} with {where}"]


def _lacking_lines(books: Books) -> Iterator[str]:
    lacking = [chunk for chunk in books.chunks.open.values() if chunk.lacking]
    fresh = [chunk for chunk in lacking if not chunk.votes]
    doubted = len(lacking) - len(fresh)
    if doubted:
        yield f"{_chunks(doubted)} with a result {_wait(doubted)} for that of another peer{_why(books, lacking)}"
    if fresh:
        again = sum(bool(chunk.failures or chunk.lapsed) for chunk in fresh)
        tried = f" ({again} failed elsewhere before)" if again else ""
        yield f"{_chunks(len(fresh))} {_wait(len(fresh))} for a worker{tried}{_why(books, fresh)}"
    if books.chunks.uncut:
        yield f"{books.chunks.uncut:,} item{'s' * (books.chunks.uncut != 1)} not handed out yet"
    if books.audits_pending:
        yield f"{_chunks(books.audits_pending)} {_wait(books.audits_pending)} for a repetition on this machine"


def _why(books: Books, chunks: list[Chunk]) -> str:
    """Why nobody has taken them."""
    active = [worker.offer for worker in books.workers.active.values()]
    if not active:
        return ": nobody works for this job now"
    if any(chunk.may_go_to(one.peer, one.party, one.platform) for chunk in chunks for one in active):
        return ""
    parties = " or belong to one party" if any(one.party is not None for one in active) else ""
    return (
        f": the {len(active)} at work have had them{parties}" if len(active) > 1 else ": the one at work has had them"
    )


def _name(worker: WorkerState) -> str:
    return "this machine" if worker.offer.local else worker.peer


def _chunks(number: int) -> str:
    return "1 chunk" if number == 1 else f"{number:,} chunks"


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _s(value: float) -> str:
    """Whole seconds, but for the first ten."""
    return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
