"""Where the worker keeps results for coordinators that vanished: in the journal, so that a restart loses none."""

import logging
from collections.abc import Callable, Sequence

from peer.journal import Journal
from protocol import encoding
from protocol.errors import LocalError, RemoteError
from protocol.kept_results import KeptResult
from protocol.messages.base import from_plain, to_plain

log = logging.getLogger(__name__)


class JournalShelf:
    """See `protocol.kept_results.KeptShelf`. A journal that fails is logged; what it cannot take is not kept."""

    def __init__(self, journal: Journal, wall_clock: Callable[[], float]) -> None:
        self._journal = journal
        self._wall_clock = wall_clock

    def load(self) -> Sequence[tuple[KeptResult, float]]:
        """What is there, the oldest first, and its age in seconds."""
        found = []
        try:
            rows = self._journal.read("SELECT id, kept, at_unix_s FROM kept ORDER BY at_unix_s, id")
        except LocalError as error:
            log.warning("what is kept for others cannot be read: %s", error)
            return ()
        for number, data, at_unix_s in rows:
            try:
                found.append((from_plain(encoding.decode(data), KeptResult), self._wall_clock() - at_unix_s))
            except RemoteError as error:
                log.warning("a result that is kept for others cannot be read: %s", error)
                self._change("DELETE FROM kept WHERE id = ?", number)
        return found

    def put(self, kept: KeptResult, data: bytes) -> None:
        """Write it down."""
        self._change(
            "INSERT OR REPLACE INTO kept (coordinator, lease, chunk, kept, data, at_unix_s) VALUES (?, ?, ?, ?, ?, ?)",
            *kept.key,
            encoding.encode(to_plain(kept)),
            data,
            self._wall_clock(),
        )

    def get(self, kept: KeptResult) -> bytes | None:
        """The bytes of the result."""
        where = "coordinator = ? AND lease = ? AND chunk = ?"
        try:
            rows = self._journal.read(f"SELECT data FROM kept WHERE {where}", *kept.key)
        except LocalError as error:
            log.warning("a result that is kept for others cannot be read: %s", error)
            return None
        return bytes(rows[0][0]) if rows else None

    def drop(self, kept: KeptResult) -> None:
        """Take it out."""
        self._change("DELETE FROM kept WHERE coordinator = ? AND lease = ? AND chunk = ?", *kept.key)

    def _change(self, statement: str, *values: object) -> None:
        try:
            with self._journal.transaction() as connection:
                connection.execute(statement, values)
        except LocalError as error:
            log.warning("what is kept for others could not be written: %s", error)
