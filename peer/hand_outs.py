"""What one job hands out, marked so that it is known again after this peer was killed; and what earlier runs did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from peer.job_items import JobItems
from peer.lease_book import HeldLease
from protocol.handed_out import Stamp
from protocol.ids import LeaseId, PeerId, digest
from protocol.job_events import Piece
from protocol.limits import KEPT_RESULTS_LIFETIME_S
from protocol.messages.kept import HandedOut, KeptChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseNotes:
    """Where the leases of a job are written down. What these raise is for the caller to bear."""

    earlier: Mapping[LeaseId, HeldLease]
    """Those of runs that were cut off."""
    add: Callable[[HeldLease], None]
    end: Callable[[LeaseId], None]


class HandOuts:
    """One per run. `notes` is None for a job that cannot go on after a restart: nothing of it is worth keeping."""

    def __init__(
        self,
        stamp: Stamp,
        items: JobItems,
        item_timeout_s: float,
        wall_clock: Callable[[], float],
        notes: LeaseNotes | None,
    ) -> None:
        self._stamp = stamp
        self._items = items
        self._item_timeout_s = item_timeout_s
        self._wall_clock = wall_clock
        self.notes = notes

    def mark(self, peer: PeerId, lease: LeaseId, piece: Piece, input: bytes) -> HandedOut | None:
        """What goes with a chunk that is handed out; `input` is the digest of its payload."""
        if self.notes is None:
            return None
        return self._stamp.mark(peer, lease, self._items.span(piece), input, self._wall_clock())

    def terms_of(self, peer: PeerId, lease: LeaseId) -> HeldLease | None:
        """The lease of an earlier run that this worker had when the run was cut off."""
        held = self.notes.earlier.get(lease) if self.notes else None
        return held if held is not None and held.peer == peer else None

    def place_of(self, peer: PeerId, kept: KeptChunk) -> tuple[int, int] | None:
        """Where in this run the items are of something that the worker has kept; None where it is of no use.

        It must have been given to this worker, in a lease that an earlier run was cut off with, not too long ago, and
        must still be the same input.
        """
        handed_out = kept.handed_out
        if self.terms_of(peer, kept.lease) is None or not self._stamp.holds(peer, kept.lease, handed_out, kept.input):
            return None
        if self._wall_clock() - handed_out.at_unix_s > KEPT_RESULTS_LIFETIME_S:
            return None
        place = self._items.places(handed_out.first, handed_out.last, handed_out.count)
        if place is None or digest(self._items.payload_of(*place)) != kept.input:
            return None
        return place

    def believable_s(self, handed_out: HandedOut, claimed_s: float) -> float:
        """Of the seconds that the worker says it computed, those that it can have: see `protocol.payroll.believable_s`.

        How long it had the chunk is not known here: no longer than since then, nor than its items may take.
        """
        held_s = max(0.0, self._wall_clock() - handed_out.at_unix_s)
        return min(claimed_s, held_s, handed_out.count * self._item_timeout_s)
