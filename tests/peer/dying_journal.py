"""A journal that dies in the middle of its work, as the process around it does when it is killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from sqlite3 import Connection

from peer.journal import Journal


class Killed(BaseException):
    """Nothing happens after it: like SIGKILL, it is no error that anybody may handle."""


class DyingJournal(Journal):
    """Ends at its `dies_at`-th write: before it is committed, or with `after` just after. Then it takes none."""

    dies_at: float = inf
    after = False
    writes = 0

    @classmethod
    def open_dying(cls, path: Path, dies_at: float = inf, *, after: bool = False) -> "DyingJournal":
        journal = cls.open(path)
        assert isinstance(journal, cls)
        journal.dies_at, journal.after = dies_at, after
        return journal

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[Connection]:
        whole = not self._connection.in_transaction
        self.writes += whole
        if whole and self.writes >= self.dies_at + self.after:
            raise Killed
        with super().transaction(durable=durable) as connection:
            yield connection
        if whole and self.writes >= self.dies_at:
            raise Killed
