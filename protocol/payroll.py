"""Paying for accepted results: credits are verified reference-seconds (DESIGN section 8, point 7).

Each worker that gave the accepted result of a chunk is paid for it. What it says of its computing time
is believed only as far as the others who agree say so too: the least of their figures counts.
"""

from collections.abc import Iterator

from protocol.chunk import Chunk, Trigger
from protocol.chunk_book import ChunkBook
from protocol.ids import PeerId
from protocol.job_events import Pay
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.worker_book import WorkerBook


def believable_s(claimed_s: float, held_s: float) -> float:
    """Of the seconds that a worker says it has computed, those that it can have: it has held the chunk no longer.

    A larger claim would be paid where nobody else gave the result, and make every item look costly to the scheduler.
    """
    return min(claimed_s, held_s)


def finalise(book: ChunkBook, workers: WorkerBook) -> Iterator[Pay]:
    """Make all settled results final and say whom to pay what, in batches, sorted by peer."""
    earned: dict[PeerId, list[tuple[Chunk, float]]] = {}
    for chunk in list(book.settled.values()):
        for peer, seconds in shares(chunk, workers):
            earned.setdefault(peer, []).append((chunk, seconds))
        chunk.fire(Trigger.FINALISE, 0.0)
        book.touch(chunk)
    for peer in sorted(earned):
        yield from _payments(peer, earned[peer], workers)


def shares(chunk: Chunk, workers: WorkerBook) -> Iterator[tuple[PeerId, float]]:
    """Whom the accepted result of a chunk is to be paid to, and how many credits each."""
    right = [vote for vote in chunk.votes.values() if vote.key == chunk.accepted_key]
    seconds = [vote.compute_s * _speed(workers, vote.worker) for vote in right]
    for vote in right:
        if not vote.trusted:
            yield vote.worker, min(seconds)


def _speed(workers: WorkerBook, peer: PeerId) -> float:
    offer = workers.offers.get(peer)
    return offer.speed if offer else 1.0


def _payments(peer: PeerId, earned: list[tuple[Chunk, float]], workers: WorkerBook) -> Iterator[Pay]:
    offer = workers.offers.get(peer)
    price = offer.price if offer else 0.0
    for first in range(0, len(earned), CHUNKS_PER_BATCH_MAX):
        batch = earned[first : first + CHUNKS_PER_BATCH_MAX]
        credits = sum(seconds for _, seconds in batch)
        tally = workers.tallies[peer]
        tally.credits += credits
        tally.price += credits * price
        yield Pay(peer, tuple(chunk.id for chunk, _ in batch), credits, credits * price)
