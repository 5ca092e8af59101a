"""How the results of a job were checked in the end, as its books have it: what the reached bound is made of."""

from collections import Counter
from collections.abc import Collection

from protocol.chunk import Chunk, ChunkState
from protocol.chunk_book import ChunkBook
from protocol.ids import PeerId
from protocol.planner import Checked, Singles, Target, is_lawful
from protocol.verification import VerificationPolicy
from protocol.worker_book import Tally, WorkerBook


def checked_so_far(
    book: ChunkBook, workers: WorkerBook, policy: VerificationPolicy, target: Target, audits: int
) -> Checked:
    """Of all results that count now; `audits` of them were drawn in the background and found right."""
    votes = max(policy.replicas, policy.votes_wanted)
    lawful = {peer for peer, tally in workers.tallies.items() if _is_lawful(tally, votes, target)}
    voted, singles = 0, Counter[PeerId]()
    for chunk in book.settled.values():
        bound_by = _answerable(chunk, lawful)
        voted += chunk.state is ChunkState.VOTED and bound_by is None
        if bound_by is not None:
            singles[bound_by] += 1
    others = sum(not offer.local for offer in workers.offers.values())
    told = tuple(
        Singles(count, workers.tallies[peer].checks_passed(target.assume_liars), peer in lawful)
        for peer, count in sorted(singles.items())
    )
    return Checked(len(book.settled), voted, audits, votes, others, told)


def _answerable(chunk: Chunk, lawful: Collection[PeerId]) -> PeerId | None:
    """The worker whose record says how likely the chunk is wrong; None where its votes say so, or it was audited."""
    if chunk.state is ChunkState.TRUSTED:
        return min(chunk.votes)
    if chunk.state is ChunkState.VOTED:
        return min((peer for peer in chunk.votes if peer in lawful), default=None)
    return None


def _is_lawful(tally: Tally, votes: int, target: Target) -> bool:
    """Who is introduced is checked half as often."""
    return not tally.introduced and is_lawful(target, tally.clean_before, votes)
