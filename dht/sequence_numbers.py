"""Sequence numbers of records that are published again and again."""

from collections.abc import Callable


class SequenceNumbers:
    """Wall-clock milliseconds, so that they grow over restarts, and one more where the clock does not."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._last = 0

    def next(self) -> int:
        """Larger than all before."""
        self._last = max(self._last + 1, int(self._wall_clock() * 1000))
        return self._last
