"""The tables of the journal and how an older file becomes a newer one."""

import sqlite3

# One entry per version of the file, in order; a released entry is never edited, only followed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, place INTEGER UNIQUE, final INTEGER, view BLOB, request BLOB)",
        """CREATE TABLE results (job TEXT, item INTEGER, ok INTEGER, result BLOB, error TEXT, traceback TEXT,
           worker TEXT, PRIMARY KEY (job, item)) WITHOUT ROWID""",
        "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT, chunk INTEGER, peer TEXT, text TEXT)",
        "CREATE INDEX logs_by_job ON logs (job, id)",
        """CREATE TABLE receipts (digest BLOB PRIMARY KEY, given INTEGER, peer TEXT, job TEXT, credits REAL,
           envelope BLOB) WITHOUT ROWID""",
        "CREATE TABLE bans (peer TEXT PRIMARY KEY, reason TEXT, at_unix_s REAL) WITHOUT ROWID",
        "CREATE TABLE addresses (peer TEXT PRIMARY KEY, place INTEGER, addresses TEXT) WITHOUT ROWID",
        "CREATE INDEX addresses_by_place ON addresses (place)",
    ),
    (
        """CREATE TABLE trust (peer TEXT PRIMARY KEY, clean REAL, audits INTEGER, offences INTEGER, first_unix_s REAL,
           seen_unix_s REAL, banned_until_unix_s REAL, reason TEXT, paired INTEGER) WITHOUT ROWID""",
        """CREATE TABLE evidence (id INTEGER PRIMARY KEY AUTOINCREMENT, peer TEXT, at_unix_s REAL, kind TEXT, job TEXT,
           text TEXT)""",
        "CREATE INDEX evidence_by_peer ON evidence (peer, id)",
        # Bans had no end: from now on they count as a first offence of that moment (30 days).
        """INSERT INTO trust SELECT peer, 0, 0, 1, at_unix_s, at_unix_s, at_unix_s + 2592000, reason, 0 FROM bans""",
        "INSERT INTO evidence (peer, at_unix_s, kind, job, text) SELECT peer, at_unix_s, 'lie', '', reason FROM bans",
        "DROP TABLE bans",
        "ALTER TABLE results ADD COLUMN checked INTEGER DEFAULT 0",
        "CREATE INDEX receipts_by_peer ON receipts (peer)",
    ),
    (
        "ALTER TABLE results ADD COLUMN doubtful INTEGER DEFAULT 0",
        "CREATE INDEX results_in_doubt ON results (job, item) WHERE doubtful",
        "UPDATE results SET doubtful = 1 WHERE checked = 0 AND worker IN (SELECT peer FROM trust WHERE offences > 0)",
    ),
    (
        "ALTER TABLE results ADD COLUMN again INTEGER DEFAULT 0",
        "CREATE INDEX results_again ON results (job, item) WHERE again",
        """CREATE TABLE owed (job TEXT, lease TEXT, peer TEXT, credits REAL, price REAL, earlier INTEGER,
           PRIMARY KEY (job, lease)) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE owed RENAME TO owed_before",
        # A worker may earn something in this run for a lease that an earlier one was cut off with, and owes for.
        """CREATE TABLE owed (job TEXT, lease TEXT, peer TEXT, credits REAL, price REAL, earlier INTEGER,
           PRIMARY KEY (job, lease, earlier)) WITHOUT ROWID""",
        "INSERT INTO owed SELECT * FROM owed_before",
        "DROP TABLE owed_before",
        "CREATE TABLE leases (job TEXT, lease TEXT, peer TEXT, price REAL, speed REAL, PRIMARY KEY (job, lease)) "
        "WITHOUT ROWID",
        """CREATE TABLE kept (id INTEGER PRIMARY KEY AUTOINCREMENT, coordinator TEXT, lease TEXT, chunk INTEGER,
           kept BLOB, data BLOB, at_unix_s REAL, UNIQUE (coordinator, lease, chunk))""",
        "ALTER TABLE jobs ADD COLUMN deaths INTEGER DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN stood INTEGER DEFAULT 0",
    ),
)


class JournalTooNew(Exception):
    """The file was written by a later version of this program."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest version, each step in one transaction; raises `JournalTooNew`."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise JournalTooNew(f"version {version}, known up to {len(MIGRATIONS)}")
    for number in range(version, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
