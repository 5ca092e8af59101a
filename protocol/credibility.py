"""Credibility: how likely a result is right, from what its givers have passed (Sarmenta 2002; VALIDATION F4 and F5).

Where a coordinator cannot execute a chunk itself, votes decide a dispute. A vote of a worker that has passed many
checks weighs more than that of a stranger, and many strangers more than a few.
"""

import math
from collections.abc import Sequence

from protocol.chunk import Vote


def worker_doubt(liars: float, checks: float) -> float:
    """1 - credibility of a worker that has passed so many checks and none in vain (F4, with blacklisting).

    Without any it is as good as the crowd it comes from; F4 says less than that of the first few.
    """
    return min(liars, liars / ((1 - liars) * checks * math.e)) if checks > 0 else liars


def group_doubts(groups: Sequence[Sequence[float]]) -> list[float]:
    """1 - credibility of each group of agreeing results, from the doubts about those who gave them (F5).

    Doubts keep their digits where credibilities are close to one. Each must be above 0 and below 1.
    """
    odds = [math.prod((1 - doubt) / doubt for doubt in group) for group in groups]
    return [(1 + sum(odds) - mine) / (1 + sum(odds)) for mine in odds]


def most_credible(votes: Sequence[Vote], liars: float) -> tuple[bytes, float]:
    """The key that is right with the highest probability, and the doubt that remains; ties go to the smaller key."""
    keys = sorted({vote.key for vote in votes})
    groups = [[worker_doubt(liars, vote.checks) for vote in votes if vote.key == key] for key in keys]
    doubts = group_doubts(groups)
    best = min(range(len(keys)), key=lambda index: doubts[index])
    return keys[best], doubts[best]
