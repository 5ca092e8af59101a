"""Whether the neighbourhood of a peer that joins has come to rest: pure.

Peers that start together do not know one another yet: each finds those that were found before it. So a peer looks for
itself again and again, at growing intervals, until that shows no new neighbour.
"""

from collections.abc import Iterable

from protocol.ids import PeerId

LOOK_FIRST_S = 5.0
LOOK_GROWTH = 2.0
LOOK_INTERVAL_S_MAX = 30.0


class Settling:
    """See the module. `neighbours` are always the nearest contacts, as many as a bucket holds, in any order."""

    def __init__(self) -> None:
        self.is_settled = False
        self.interval_s = LOOK_FIRST_S
        """Until the next look."""
        self._neighbours: frozenset[PeerId] = frozenset()
        self._has_moved = False

    def joined(self, neighbours: Iterable[PeerId]) -> None:
        """We have found ourselves through others; whether this is how it stays, the next look will show."""
        self._neighbours = frozenset(neighbours)

    def unsettle(self) -> None:
        """All contacts are lost: who comes back begins anew, but looks no more often."""
        self.is_settled, self._has_moved = False, True

    def looked(self, neighbours: Iterable[PeerId], *, all_answered: bool, tolerated: int = 0) -> bool:
        """What a look has shown; whether that was the last one, after others that did bring something new.

        Where somebody has not answered, this was no look at all neighbours: there will be one more. So many new
        neighbours as are `tolerated` are no news: a large network always has newcomers.
        """
        now = frozenset(neighbours)
        new = now - self._neighbours if len(now - self._neighbours) > tolerated else frozenset()
        self._neighbours = now
        self.is_settled = all_answered and bool(now) and not new
        self._has_moved = self._has_moved or bool(new)
        self.interval_s = (
            LOOK_INTERVAL_S_MAX if self.is_settled else min(self.interval_s * LOOK_GROWTH, LOOK_INTERVAL_S_MAX)
        )
        return self.is_settled and self._has_moved
