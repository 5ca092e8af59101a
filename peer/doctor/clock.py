"""How far this machine's clock is off, from the records of other peers. Pure.

A record lives `RECORD_LIFETIME_S` and is published again at half of it, so its age when we see it lies between
nothing and half its life. That leaves one peer's word a doubt of five minutes; several peers narrow it down.
"""

from collections.abc import Sequence
from statistics import median

from protocol.limits import RECORD_LIFETIME_S

AGE_S_MAX = RECORD_LIFETIME_S / 2
TOLERANCE_S = 60.0
"""Less matters to nobody: records are taken up to two minutes early."""


def clock_ahead_s(left_s: Sequence[float]) -> tuple[float, float]:
    """The least and the most that our clock is ahead of the others' (negative: behind), by the median of what their
    records have left to live on our clock. At least one is needed.
    """
    middle = median(left_s)
    return RECORD_LIFETIME_S - AGE_S_MAX - middle, RECORD_LIFETIME_S - middle


def clock_in_words(left_s: Sequence[float]) -> str | None:
    """How far it is off for certain, or None when it may be right."""
    least, most = clock_ahead_s(left_s)
    if least > TOLERANCE_S:
        return f"at least {least / 60:.0f} min ahead of most others'"
    if most < -TOLERANCE_S:
        return f"at least {-most / 60:.0f} min behind most others'"
    return None
