"""How often each peer may ask for something: a token bucket for each, pure and bounded."""

from math import inf

from protocol.ids import PeerId


class PeerRate:
    """`burst_max` at once for each peer, refilled at `per_s_max`. Times are monotonic seconds that do not go back.

    Whoever has been quiet until its bucket was full again is forgotten, and of the others all but the `peers_max`
    that came last.
    """

    def __init__(self, burst_max: int, per_s_max: float, peers_max: int) -> None:
        self._burst_max = burst_max
        self._per_s_max = per_s_max
        self._refilled_after_s = burst_max / per_s_max if per_s_max else inf
        self._peers_max = peers_max
        self._buckets: dict[PeerId, tuple[float, float]] = {}
        """Tokens left, and when that was so; who came last is last."""

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, peer: PeerId, now: float) -> bool:
        """Count one; False when it is one too many."""
        self._forget_full(now)
        tokens, since = self._buckets.pop(peer, (float(self._burst_max), now))
        tokens = min(self._burst_max, tokens + (now - since) * self._per_s_max)
        allowed = tokens >= 1.0
        self._buckets[peer] = (tokens - allowed, now)
        if len(self._buckets) > self._peers_max:
            del self._buckets[next(iter(self._buckets))]
        return allowed

    def _forget_full(self, now: float) -> None:
        while self._buckets:
            first = next(iter(self._buckets))
            if now - self._buckets[first][1] < self._refilled_after_s:
                break
            del self._buckets[first]
