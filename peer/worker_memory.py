"""The worker's memory of coordinators, from the receipts in the journal."""

import logging
from collections.abc import Callable, Sequence

from peer.journal import Journal
from protocol import encoding
from protocol.errors import LocalError, RemoteError
from protocol.ids import PeerId
from protocol.messages.base import from_plain
from protocol.messages.job import INTRODUCTIONS_MAX, RefusalReason
from protocol.signing import Envelope
from protocol.worker_policy import Problem

log = logging.getLogger(__name__)


class JournalMemory:
    """See `protocol.worker_memory`. A journal that fails is logged, and remembers nothing then."""

    def __init__(self, journal: Journal, leave: Callable[[PeerId], Problem | None] = lambda peer: None) -> None:
        self._journal = journal
        self._leave = leave

    def leave(self, peer: PeerId) -> Problem | None:
        """What the door says; it stays shut while the journal cannot be read."""
        try:
            return self._leave(peer)
        except LocalError as error:
            log.warning("whom to let in is not known: %s", error)
            return RefusalReason.NOT_ACCEPTED, "this worker cannot tell whom it works for"

    def standing(self, peer: PeerId) -> float:
        """Credits that a peer has earned from us beyond what we have earned from it."""
        sums = "SELECT SUM(CASE WHEN given THEN credits ELSE -credits END) FROM receipts WHERE peer = ?"
        rows = self._read(sums, peer)
        return float(rows[0][0] or 0.0) if rows else 0.0

    def introductions(self, to: PeerId) -> Sequence[Envelope]:
        """The largest receipt of each other coordinator, the largest ones of these."""
        largest = (
            "SELECT envelope, MAX(credits) AS most FROM receipts WHERE NOT given AND peer != ? "
            "GROUP BY peer ORDER BY most DESC, peer LIMIT ?"
        )
        envelopes = []
        for data, _ in self._read(largest, to, INTRODUCTIONS_MAX):
            try:
                envelopes.append(from_plain(encoding.decode(data), Envelope))
            except RemoteError as error:
                log.warning("a receipt in the journal cannot be read: %s", error)
        return tuple(envelopes)

    def _read(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return list(self._journal.read(query, *values))
        except LocalError as error:
            log.warning("the worker's memory of coordinators fails: %s", error)
            return []
