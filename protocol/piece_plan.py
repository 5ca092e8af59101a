"""Which piece of a blob to ask of whom next: pure, without I/O. Times are monotonic seconds.

The rarest piece goes first, so that a blob which nobody has whole stays complete as holders leave; ties go by number.
When every missing piece is under way, an idle holder is given the one that was asked for longest ago by others
(a hedge), once that is overdue: more than `HEDGE_FACTOR` times what pieces take here. So a slow holder delays nothing
and the last pieces do not wait for it. A holder that gave a bad piece is asked for nothing more, ever.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

from protocol.errors import LocalError

HEDGE_FACTOR = 3.0
HEDGE_AFTER_S_MIN = 0.25
HEDGE_FIRST_S = 2.0
"""As long as no piece has come."""
ASKED_AT_ONCE_MAX = 2
"""Holders of whom one piece is wanted at the same time."""
_NEWEST_WEIGHT = 0.2

HolderT = TypeVar("HolderT", bound=Hashable)


@dataclass(slots=True)
class _Holder:
    held: int
    asked: dict[int, float] = field(default_factory=dict)


class PiecePlan(Generic[HolderT]):
    """The state of one download. `missing` are the pieces to get; sets of pieces are numbers with a bit for each."""

    def __init__(self, pieces: int, missing: int) -> None:
        self.pieces = pieces
        self._missing = missing
        self._holders: dict[HolderT, _Holder] = {}
        self._banned: set[HolderT] = set()
        self._by_copies = [(1 << pieces) - 1]
        """At place n, the pieces that n holders have."""
        self._asked = 0
        """The pieces in `_under_way`."""
        self._under_way: dict[int, int] = {}
        """Of how many holders each piece is wanted now."""
        self._usual_s = inf

    @property
    def done(self) -> bool:
        """Whether every piece is here."""
        return not self._missing

    @property
    def missing(self) -> int:
        """The pieces that are not here."""
        return self._missing

    def is_banned(self, holder: HolderT) -> bool:
        """Whether it gave a bad piece."""
        return holder in self._banned

    def join(self, holder: HolderT, held: int) -> None:
        """A holder comes, or has more pieces than before. Nothing happens for one that is banned."""
        if holder in self._banned:
            return
        known = self._holders.setdefault(holder, _Holder(0))
        held &= (1 << self.pieces) - 1
        self._count(known.held & ~held, -1)
        self._count(held & ~known.held, +1)
        known.held = held

    def leave(self, holder: HolderT) -> None:
        """A holder goes; what was asked of it is asked of others. Idempotent."""
        known = self._holders.pop(holder, None)
        if known is None:
            return
        self._count(known.held, -1)
        for piece in list(known.asked):
            self._put_back(piece)

    def next_piece(self, holder: HolderT, now: float) -> int | None:
        """The piece to ask of this holder, noted as asked; None when there is none for it now."""
        known = self._holders.get(holder)
        if known is None:
            return None
        piece = self._fresh(known)
        if piece is None:
            piece = self._overdue(known, now)
        if piece is not None:
            known.asked[piece] = now
            self._under_way[piece] = self._under_way.get(piece, 0) + 1
            self._asked |= 1 << piece
        return piece

    def next_hedge_at(self, holder: HolderT) -> float:
        """When at the earliest this holder may be given what others owe; infinity when nothing is owed that it has."""
        known = self._holders.get(holder)
        times = [] if known is None else [at for at, _ in self._owed_to(known)]
        return min(times, default=inf) + self._patience_s()

    def arrived(self, holder: HolderT, piece: int, now: float) -> bool:
        """A good piece from a holder; whether it was still missing. Raises `LocalError` when it was not asked for."""
        asked_at = self._answered(holder, piece)
        took_s = now - asked_at
        self._usual_s = took_s if self._usual_s == inf else self._usual_s + _NEWEST_WEIGHT * (took_s - self._usual_s)
        was_missing = bool(self._missing >> piece & 1)
        self._missing &= ~(1 << piece)
        return was_missing

    def spoiled(self, holder: HolderT, piece: int) -> None:
        """A bad piece: the holder is banned, the piece is wanted of others."""
        self._answered(holder, piece)
        self.ban(holder)

    def lost(self, holder: HolderT, piece: int) -> None:
        """The holder does not have that piece after all."""
        self._answered(holder, piece)
        self.join(holder, self._holders[holder].held & ~(1 << piece))

    def ban(self, holder: HolderT) -> None:
        """It broke the protocol: it leaves and may not come back."""
        self._banned.add(holder)
        self.leave(holder)

    def check_invariants(self) -> None:
        """Raise `LocalError` when the books do not agree; for tests."""
        asked = [piece for holder in self._holders.values() for piece in holder.asked]
        counted = {piece: asked.count(piece) for piece in set(asked)}
        if counted != self._under_way or self._asked != sum(1 << piece for piece in counted):
            raise LocalError(f"the plan's books do not agree: {counted} and {self._under_way}")
        for piece in range(self.pieces):
            copies = sum(one.held >> piece & 1 for one in self._holders.values())
            if not self._by_copies[copies] >> piece & 1:
                raise LocalError(f"piece {piece} has {copies} copies, which the plan does not know")
        if self._banned & self._holders.keys():
            raise LocalError("a banned holder is still asked")
        if any(number > ASKED_AT_ONCE_MAX for number in counted.values()):
            raise LocalError(f"a piece is asked of too many at once: {counted}")

    def _fresh(self, holder: _Holder) -> int | None:
        """The rarest piece that nobody was asked for."""
        wanted = holder.held & self._missing & ~self._asked
        for pieces in self._by_copies:
            if found := pieces & wanted:
                return (found & -found).bit_length() - 1
        return None

    def _overdue(self, holder: _Holder, now: float) -> int | None:
        due = [(at, piece) for at, piece in self._owed_to(holder) if at + self._patience_s() <= now]
        return min(due)[1] if due else None

    def _owed_to(self, holder: _Holder) -> list[tuple[float, int]]:
        """Missing pieces for which this holder may be asked as well, with when others were asked for them."""
        return [
            (at, piece)
            for other in self._holders.values()
            for piece, at in other.asked.items()
            if self._missing & holder.held & (1 << piece)
            and piece not in holder.asked
            and self._under_way[piece] < ASKED_AT_ONCE_MAX
        ]

    def _patience_s(self) -> float:
        return HEDGE_FIRST_S if self._usual_s == inf else max(HEDGE_AFTER_S_MIN, HEDGE_FACTOR * self._usual_s)

    def _answered(self, holder: HolderT, piece: int) -> float:
        known = self._holders.get(holder)
        if known is None or piece not in known.asked:
            raise LocalError(f"piece {piece} was not asked of {holder}")
        self._put_back(piece)
        return known.asked.pop(piece)

    def _put_back(self, piece: int) -> None:
        self._under_way[piece] -= 1
        if not self._under_way[piece]:
            del self._under_way[piece]
            self._asked &= ~(1 << piece)

    def _count(self, held: int, change: int) -> None:
        self._by_copies.append(0)
        places = range(len(self._by_copies))
        for place in reversed(places) if change > 0 else places:
            if moved := self._by_copies[place] & held:
                self._by_copies[place] ^= moved
                self._by_copies[place + change] |= moved
        while self._by_copies and not self._by_copies[-1]:
            self._by_copies.pop()
