"""The journal: what one peer keeps across restarts, in one SQLite file (DESIGN section 10).

It owns jobs and their results and logs, receipts, trust (`trust_book.py`) and the address book. It is called straight
from the event loop: every call is one small transaction, and what happens next sees it done. The file is in WAL mode
with `synchronous=NORMAL`. What survives:

- A process that is killed, at any moment (SIGKILL, out of memory, a crash): every transaction that was committed. It is
  in the operating system's cache, which outlives the process; one that was not committed is as if it had not begun.
- A machine that loses power, or its kernel: all but the last transactions. The log is flushed to the disk when it
  is moved into the file (each 1000 pages or so), not at each commit, which would cost each result some milliseconds.
  What is lost is lost from the end, never out of the middle, and the file stays whole.
- Not lost even then is what others may have heard of and what follows from it is worth a flush: a job that was
  taken, its end with the receipts given for it, a ban for a lie with the doubt that it casts. These transactions are
  `durable`: all up to them is on the disk before they return, and before a message about them can leave.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec

from peer.job_owing import Debt
from peer.journal_schema import JournalTooNew, migrate
from peer.result_data import result_from_cbor, result_to_cbor
from peer.views import JobRequest, JobState, JobView, ResultLine
from protocol import encoding
from protocol.bodies import Receipt
from protocol.errors import LocalError
from protocol.ids import JobId, digest
from protocol.limits import ADDRESSES_PER_PEER_MAX

JOBS_KEPT_MAX = 500
LOG_ROWS_PER_JOB_MAX = 1024
ADDRESS_BOOK_PEERS_MAX = 1000
LOG_ROWS_PER_READ = 500
RESULT_ROWS_PER_READ = 1000
_UNFINISHED = frozenset({JobState.CALLING, JobState.RUNNING, JobState.PAUSED})
"""Jobs that are kept however old they are."""


class Journal:
    """An open journal. Every method raises `LocalError` when the disk is full or the file is damaged."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._durable = False
        """Whether the connection flushes at each commit; as `_connect` leaves it."""

    @classmethod
    def open(cls, path: Path | None) -> "Journal":
        """Open or create the file; in memory when `path` is None. Jobs that were running are in `unfinished`."""
        name = str(path) if path is not None else ":memory:"
        with _explained(name):
            return cls(_connect(name), name)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    # Jobs.

    def add_job(self, view: JobView, request: JobRequest) -> None:
        """Keep a new job; the oldest finished ones beyond `JOBS_KEPT_MAX` go."""
        with self.transaction(durable=True) as connection:
            connection.execute(
                "INSERT INTO jobs (id, place, final, view, request) "
                "VALUES (?, (SELECT COALESCE(MAX(place), 0) + 1 FROM jobs), ?, ?, ?)",
                (view.id, view.state not in _UNFINISHED, msgspec.json.encode(view), msgspec.json.encode(request)),
            )
            self._forget_old_jobs(connection)

    def save_job(self, view: JobView) -> None:
        """Replace the view of a job that was added. At its end nothing is left of it to be run again."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET final = ?, view = ? WHERE id = ?",
                (view.state not in _UNFINISHED, msgspec.json.encode(view), view.id),
            )
            if not view.state.can_go_on:
                connection.execute("UPDATE results SET again = 0 WHERE job = ? AND again", (view.id,))

    def jobs(self) -> list[JobView]:
        """All jobs, the newest first."""
        return [_view(row[0]) for row in self.read("SELECT view FROM jobs ORDER BY place DESC")]

    def unfinished(self) -> list[JobView]:
        """Jobs that run, ran when the process ended, or are paused; the oldest first."""
        return [_view(row[0]) for row in self.read("SELECT view FROM jobs WHERE NOT final ORDER BY place")]

    def job(self, job_id: JobId) -> JobView | None:
        """One job, or None when it is not known."""
        rows = self.read("SELECT view FROM jobs WHERE id = ?", job_id)
        return _view(rows[0][0]) if rows else None

    def request(self, job_id: JobId) -> JobRequest | None:
        """What the user had asked for, or None when the job is not known."""
        rows = self.read("SELECT request FROM jobs WHERE id = ?", job_id)
        return msgspec.json.decode(rows[0][0], type=JobRequest) if rows else None

    def _forget_old_jobs(self, connection: sqlite3.Connection) -> None:
        old = connection.execute(
            "SELECT id FROM jobs WHERE final AND place <= (SELECT MAX(place) FROM jobs) - ?", (JOBS_KEPT_MAX,)
        ).fetchall()
        for table, column in (("results", "job"), ("logs", "job"), ("owed", "job"), ("leases", "job"), ("jobs", "id")):
            connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", old)

    # Results and logs.

    def record_results(self, job_id: JobId, lines: Sequence[ResultLine]) -> None:
        """Keep results; a line for an item that has one replaces it. All of them or none."""
        rows = [
            (job_id, one.item, one.ok, result_to_cbor(one.result), one.error, one.traceback, one.worker, one.checked)
            for one in lines
        ]
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0)", rows)

    def confirm_results(self, job_id: JobId, items: Sequence[int]) -> None:
        """These results rest on more than the word of their worker."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE results SET checked = 1 WHERE job = ? AND item = ?", [(job_id, item) for item in items]
            )

    def doubt(self, peer: str) -> dict[str, int]:
        """From now on what counts on the word of this peer alone is in doubt; how many results are, by job."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE results SET doubtful = 1 WHERE worker = ? AND checked = 0 AND doubtful = 0", (peer,)
            )
        return self.in_doubt()

    def in_doubt(self) -> dict[str, int]:
        """How many results are in doubt, by job."""
        return dict(self.read("SELECT job, COUNT(*) FROM results WHERE doubtful GROUP BY job"))

    def doubtful(self, job_id: JobId) -> dict[int, str]:
        """The items whose results are in doubt, each with the peer that gave it."""
        return dict(self.read("SELECT item, worker FROM results WHERE job = ? AND doubtful", job_id))

    def run_again(self, job_id: JobId, items: Sequence[int]) -> None:
        """Those of these items that have a result keep it until there is a new one, which is waited for from now on."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE results SET again = 1 WHERE job = ? AND item = ?", [(job_id, item) for item in items]
            )

    def to_run_again(self, job_id: JobId) -> set[int]:
        """The items whose results are waited for although they have one."""
        return {item for (item,) in self.read("SELECT item FROM results WHERE job = ? AND again", job_id)}

    def outcomes(self, job_id: JobId) -> dict[int, bool]:
        """The items that have a result, and whether it is a good one, without the results themselves."""
        return {item: bool(ok) for item, ok in self.read("SELECT item, ok FROM results WHERE job = ?", job_id)}

    def remove_results(self, job_id: JobId, items: Sequence[int]) -> None:
        """Take back the results of these items: their worker was caught."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM results WHERE job = ? AND item = ?", [(job_id, item) for item in items])

    def results(self, job_id: JobId) -> Iterator[ResultLine]:
        """The results that there are, in item order; read in pages, so that writing may go on meanwhile."""
        after = -1
        while rows := self.read(
            "SELECT item, ok, result, error, traceback, worker FROM results "
            "WHERE job = ? AND item > ? ORDER BY item LIMIT ?",
            job_id,
            after,
            RESULT_ROWS_PER_READ,
        ):
            for row in rows:
                yield _result_line(row)
            after = rows[-1][0]

    def add_log(self, job_id: JobId, chunk: int, peer: str, text: str) -> None:
        """Keep what a chunk printed; the oldest rows beyond `LOG_ROWS_PER_JOB_MAX` of the job go."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO logs (job, chunk, peer, text) VALUES (?, ?, ?, ?)", (job_id, chunk, peer, text)
            )
            connection.execute(
                "DELETE FROM logs WHERE job = ? AND id <= "
                "(SELECT id FROM logs WHERE job = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (job_id, job_id, LOG_ROWS_PER_JOB_MAX),
            )

    def logs(self, job_id: JobId, chunk: int | None = None, after: int = 0) -> list[tuple[int, int, str, str]]:
        """What chunks printed, or one chunk, the oldest first: (number, chunk, peer, text).

        At most `LOG_ROWS_PER_READ` rows, those with a number above `after`.
        """
        where, values = ("", ()) if chunk is None else (" AND chunk = ?", (chunk,))
        return self.read(
            f"SELECT id, chunk, peer, text FROM logs WHERE job = ? AND id > ?{where} ORDER BY id LIMIT ?",
            job_id,
            after,
            *values,
            LOG_ROWS_PER_READ,
        )

    # Credit and trust.

    def save_owed(self, job_id: JobId, debts: Sequence[Debt]) -> None:
        """Replace what the run of a job owes so far; what earlier runs of it owe stays."""
        rows = [(job_id, one.lease, one.peer, one.credits, one.price) for one in debts]
        with self.transaction() as connection:
            connection.execute("DELETE FROM owed WHERE job = ? AND NOT earlier", (job_id,))
            connection.executemany("INSERT OR REPLACE INTO owed VALUES (?, ?, ?, ?, ?, 0)", rows)

    def end_run(self, job_id: JobId) -> None:
        """The run of the job was cut off: what it owed is owed by an earlier run from now on."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO owed SELECT job, lease, peer, credits, price, 1 FROM owed WHERE job = ? AND NOT earlier "
                "ON CONFLICT DO UPDATE SET credits = credits + excluded.credits, price = price + excluded.price",
                (job_id,),
            )
            connection.execute("DELETE FROM owed WHERE job = ? AND NOT earlier", (job_id,))

    def owed_earlier(self, job_id: JobId) -> list[Debt]:
        """What runs of the job that were cut off still owe."""
        rows = self.read("SELECT peer, lease, credits, price FROM owed WHERE job = ? AND earlier", job_id)
        return [Debt(*row) for row in rows]

    def forget_owed(self, job_id: JobId) -> None:
        """All that could be paid is paid."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM owed WHERE job = ?", (job_id,))

    def add_receipt(self, envelope_bytes: bytes, receipt: Receipt, *, given: bool, peer: str) -> None:
        """Keep a receipt that we gave to `peer` or had from it; one whose lease and number are known changes nothing.

        Not so its bytes: whoever has the key can sign the same thing many times, each time with other bytes.
        """
        known_by = encoding.encode([given, peer, receipt.lease, receipt.sequence])
        with self.transaction() as connection:
            if given:
                # One without chunks pays for earlier runs; see `PoolPayments`.
                connection.execute(
                    "DELETE FROM owed WHERE job = ? AND lease = ? AND earlier = ?",
                    (receipt.job, receipt.lease, not receipt.chunks),
                )
            connection.execute(
                "INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?, ?, ?)",
                (digest(known_by), given, peer, receipt.job, receipt.credits, envelope_bytes),
            )

    def credits(self) -> dict[str, float]:
        """Credits `earned` by our work for others and `spent` on theirs for us."""
        sums = dict(self.read("SELECT given, SUM(credits) FROM receipts GROUP BY given"))
        return {"earned": sums.get(0, 0.0), "spent": sums.get(1, 0.0)}

    def add_evidence(self, peer: str, kind: str, job: str, text: str, at_unix_s: float, kept_max: int) -> None:
        """Keep what is behind a peer's trust; its oldest rows beyond `kept_max` go."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO evidence (peer, at_unix_s, kind, job, text) VALUES (?, ?, ?, ?, ?)",
                (peer, at_unix_s, kind, job, text),
            )
            connection.execute(
                "DELETE FROM evidence WHERE peer = ? AND id <= "
                "(SELECT id FROM evidence WHERE peer = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (peer, peer, kept_max),
            )

    # The address book.

    def remember_addresses(self, peer: str, addresses: Sequence[str]) -> None:
        """Where a peer was last reached; the peers seen longest ago beyond `ADDRESS_BOOK_PEERS_MAX` go."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO addresses VALUES (?, (SELECT COALESCE(MAX(place), 0) + 1 FROM addresses), ?)",
                (peer, json.dumps(list(addresses)[:ADDRESSES_PER_PEER_MAX])),
            )
            connection.execute(
                "DELETE FROM addresses WHERE place <= "
                "(SELECT place FROM addresses ORDER BY place DESC LIMIT 1 OFFSET ?)",
                (ADDRESS_BOOK_PEERS_MAX,),
            )

    def addresses(self) -> list[tuple[str, list[str]]]:
        """The address book: (peer, addresses), the peer seen last first."""
        rows = self.read("SELECT peer, addresses FROM addresses ORDER BY place DESC")
        return [(peer, json.loads(addresses)) for peer, addresses in rows]

    # The file.

    def read(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """The rows of a query."""
        with _explained(self._name):
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All of what is done within, or nothing. Within another one it is a part of that.

        `durable`: when it returns, it and all before it survive a power cut; some milliseconds. Not within another one
        that is not.
        """
        with _explained(self._name):
            within = self._connection.in_transaction
            assert self._durable or not (within and durable), "a part cannot be flushed before the whole"
            with nullcontext() if within else self._begun(durable):
                yield self._connection

    @contextmanager
    def _begun(self, durable: bool) -> Iterator[None]:
        if durable != self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # Still open only when something failed, and SQLite had not rolled it back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except JournalTooNew as error:
        raise LocalError(
            f"the journal {name} was written by a newer Parallel Peer ({error}); update this one"
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise LocalError(_explanation(name, error)) from error


def _explanation(name: str, error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return f"the disk of the journal {name} is full; what was written is safe. Free some space, then try again"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"the journal {name} is damaged ({error}); move it away to start with an empty one"
    return f"cannot use the journal {name}: {error}; check the disk and the rights of its folder"


def _view(data: bytes) -> JobView:
    return msgspec.json.decode(data, type=JobView)


def _result_line(row: tuple) -> ResultLine:  # type: ignore[type-arg]
    item, ok, result, error, traceback, worker = row
    return ResultLine(
        item=item,
        ok=bool(ok),
        result=result_from_cbor(result),
        error=error,
        traceback=traceback,
        worker=worker,
    )
