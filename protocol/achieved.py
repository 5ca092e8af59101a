"""How the results of a job were checked in the end, as its books have it: what the reached bound is made of."""

from collections import Counter

from protocol.chunk import ChunkState
from protocol.chunk_book import ChunkBook
from protocol.ids import PeerId
from protocol.planner import Checked, Singles, Target, check_due, vote_share_max
from protocol.verification import VerificationPolicy
from protocol.worker_book import Tally, WorkerBook


def checked_so_far(
    book: ChunkBook, workers: WorkerBook, policy: VerificationPolicy, target: Target, audits: int
) -> Checked:
    """Of all results that count now; `audits` of them were drawn in the background and found right."""
    voted, singles = 0, Counter[PeerId]()
    for chunk in book.settled.values():
        voted += chunk.state is ChunkState.VOTED
        if chunk.state is ChunkState.TRUSTED:
            singles[next(iter(sorted(chunk.votes)))] += 1
    votes = max(policy.replicas, policy.votes_wanted)
    others = sum(not offer.local for offer in workers.offers.values())
    told = tuple(_singles(count, workers.tallies[peer], votes, target) for peer, count in sorted(singles.items()))
    return Checked(len(book.settled), voted, audits, votes, others, told)


def _singles(count: int, tally: Tally, votes: int, target: Target) -> Singles:
    checks = tally.checks_passed(target.assume_liars)
    lawful = votes > 1 and check_due(target, tally.clean_before) <= vote_share_max(target, votes)
    lawful = lawful and not tally.introduced  # It was checked half as often.
    return Singles(count, checks, lawful)
