"""What coordinators find wrong with the results of this machine: told to its owner, whose memory may be faulty.

The words are a stranger's: bounded by the message, cleaned here, and not told more often than once in a while.
"""

from collections.abc import Callable

import trio

from peer.core import ComplaintHeard
from peer.views import ComplaintView
from protocol.ids import PeerId

COMPLAINTS_TOLD_INTERVAL_S = 60.0
"""Those that come sooner after one that was told are only counted, and the last one kept."""


class Complaints:
    """Of one peer since its start; `hear` is the worker's `on_complaint`."""

    def __init__(self, wall_clock: Callable[[], float], tell: Callable[[ComplaintHeard], None]) -> None:
        self.count = 0
        self.last: ComplaintView | None = None
        self._wall_clock = wall_clock
        self._tell = tell
        self._tell_from = -float("inf")

    def hear(self, coordinator: PeerId, text: str) -> None:
        """Keep it, and tell it unless one was told just before."""
        text = _one_line(text)
        self.count += 1
        self.last = ComplaintView(coordinator=coordinator, text=text, at_unix_s=self._wall_clock())
        if (now := trio.current_time()) >= self._tell_from:
            self._tell_from = now + COMPLAINTS_TOLD_INTERVAL_S
            self._tell(ComplaintHeard(coordinator, text))


def _one_line(text: str) -> str:
    """Without line breaks, with which it could pass for other lines of this peer, and what steers a terminal."""
    return "".join(one if one.isprintable() else "\ufffd" for one in " ".join(text.split()))
