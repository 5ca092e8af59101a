"""How big a chunk is cut, how much a worker is given ahead, when a straggler is hedged.

Guided self-scheduling (Polychronopoulos and Kuck 1987) in seconds instead of iterations: pieces shrink
as the work runs out, within bounds that keep the cost per chunk small and progress visible.
"""

import math

from protocol.limits import ITEMS_PER_CHUNK_MAX

CHUNK_S_MIN = 0.1
CHUNK_S_MAX = 1.0
CHUNKS_PER_SLOT_AHEAD = 2
CHUNKS_PER_SLOT_TOTAL_MIN = 8
"""A job is cut into at least so many chunks per slot, so that a secret sample has something to draw from."""
PREFETCH_S = 0.1
QUEUE_DEPTH_MAX = 16
FAR_FROM_END_CHUNKS = 4
HEDGE_FACTOR = 2.0
HEDGE_S_MIN = 0.5
HEDGE_S_UNKNOWN = 5.0
ESTIMATE_WEIGHT = 0.3


class Estimate:
    """Seconds of computing per item, from what was observed, the newest weighing most."""

    def __init__(self) -> None:
        self.item_s: float | None = None

    def observe(self, compute_s: float, items: int) -> None:
        """A chunk of so many items took so long."""
        sample = compute_s / items
        old = self.item_s
        self.item_s = sample if old is None else old + ESTIMATE_WEIGHT * (sample - old)


def chunk_items(remaining: int, total: int, slots: int, item_s: float | None) -> int:
    """How many items the next chunk takes; one while nothing is known of their cost."""
    if item_s is None or remaining <= 1:
        return min(1, remaining)
    shortest = math.floor(CHUNK_S_MIN / max(item_s, 1e-9))
    longest = max(1, math.floor(CHUNK_S_MAX / max(item_s, 1e-9)))
    guided = math.ceil(remaining / (CHUNKS_PER_SLOT_AHEAD * slots))
    sampled = math.ceil(total / (CHUNKS_PER_SLOT_TOTAL_MIN * slots))
    return max(1, min(max(guided, shortest), longest, sampled, remaining, ITEMS_PER_CHUNK_MAX))


def queue_depth(chunk_s: float, remaining_s: float, slots: int) -> int:
    """Chunks per slot that a worker holds: one that runs, and some ahead while the end is far.

    Short chunks need more ahead to hide the round trip; near the end nothing is given ahead, so that
    no worker sits on work while another is idle.
    """
    ahead = math.floor(PREFETCH_S / max(chunk_s, 1e-4))
    if remaining_s / slots > FAR_FROM_END_CHUNKS * chunk_s:
        ahead += 1
    return min(1 + ahead, QUEUE_DEPTH_MAX)


def hedge_after_s(items: int, item_s: float | None) -> float:
    """How long a chunk may run before an idle worker is given the same one."""
    if item_s is None:
        return HEDGE_S_UNKNOWN
    return max(HEDGE_S_MIN, HEDGE_FACTOR * items * item_s)
