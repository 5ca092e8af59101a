"""A journal that an older version has written: opened by this one, it loses nothing.

The making of each older file stands here as it was, and is never changed: what is on disks does not change either.
"""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from peer.journal import Journal
from peer.journal_schema import MIGRATIONS
from peer.views import JobRequest, JobState, ResultLine
from protocol import encoding
from protocol.ids import JobId

VERSION_3 = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, place INTEGER UNIQUE, final INTEGER, view BLOB, request BLOB);
CREATE TABLE results (job TEXT, item INTEGER, ok INTEGER, result BLOB, error TEXT, traceback TEXT,
    worker TEXT, checked INTEGER DEFAULT 0, doubtful INTEGER DEFAULT 0, PRIMARY KEY (job, item)) WITHOUT ROWID;
CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT, chunk INTEGER, peer TEXT, text TEXT);
CREATE INDEX logs_by_job ON logs (job, id);
CREATE TABLE receipts (digest BLOB PRIMARY KEY, given INTEGER, peer TEXT, job TEXT, credits REAL,
    envelope BLOB) WITHOUT ROWID;
CREATE TABLE addresses (peer TEXT PRIMARY KEY, place INTEGER, addresses TEXT) WITHOUT ROWID;
CREATE INDEX addresses_by_place ON addresses (place);
CREATE TABLE trust (peer TEXT PRIMARY KEY, clean REAL, audits INTEGER, offences INTEGER, first_unix_s REAL,
    seen_unix_s REAL, banned_until_unix_s REAL, reason TEXT, paired INTEGER) WITHOUT ROWID;
CREATE TABLE evidence (id INTEGER PRIMARY KEY AUTOINCREMENT, peer TEXT, at_unix_s REAL, kind TEXT, job TEXT, text TEXT);
CREATE INDEX evidence_by_peer ON evidence (peer, id);
CREATE INDEX receipts_by_peer ON receipts (peer);
CREATE INDEX results_in_doubt ON results (job, item) WHERE doubtful;
PRAGMA user_version = 3;
"""
VIEW = {"id": "j", "name": "old", "runtime": "python", "items": 4, "items_done": 2, "retries": 1, "doubtful": 1}
REQUEST = {"name": "old", "code": "def run(item): return item", "items": [1, 2, 3, 4], "verify": "quorum:2"}
ROWS = [(0, 1, 1, 0, "w"), (1, 1, 0, 1, "liar"), (2, 0, 1, 0, "w")]


def write_version_3(path: Path, state: str) -> None:
    """A job in this state, of whose four items one is in doubt, one failed, and one was never run."""
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_3)
    view = msgspec.json.encode({**VIEW, "state": state})
    connection.execute(
        "INSERT INTO jobs VALUES ('j', 1, ?, ?, ?)", (state == "done", view, msgspec.json.encode(REQUEST))
    )
    for item, ok, checked, doubtful, worker in ROWS:
        values = (item, ok, encoding.encode(item * 10), worker, checked, doubtful)
        connection.execute("INSERT INTO results VALUES ('j', ?, ?, ?, NULL, NULL, ?, ?, ?)", values)
    connection.execute("INSERT INTO trust VALUES ('w', 7.5, 2, 0, 1.0, 2.0, 0.0, '', 1)")
    connection.execute("INSERT INTO receipts VALUES (x'01', 0, 'p', 'j', 2.5, x'02')")
    connection.execute("INSERT INTO addresses VALUES ('p', 1, '[\"/ip4/127.0.0.1/tcp/1\"]')")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("state", ["running", "done"])
def test_a_file_of_version_3_is_brought_to_this_one_and_loses_nothing(tmp_path: Path, state: str) -> None:
    path = tmp_path / "journal.sqlite"
    write_version_3(path, state)
    for _ in range(2):
        journal = Journal.open(path)
        assert journal.read("PRAGMA user_version") == [(len(MIGRATIONS),)]
        (view,) = journal.jobs()
        assert (view.state, view.items, view.retries, view.resumes) == (JobState(state), 4, 1, 0)
        assert [one.id for one in journal.unfinished()] == ([] if state == "done" else ["j"])
        assert journal.request(JobId("j")) == msgspec.convert(REQUEST, JobRequest)
        assert [line.result for line in journal.results(JobId("j"))] == [0, 10, 20]
        assert journal.outcomes(JobId("j")) == {0: True, 1: True, 2: False}
        assert (journal.doubtful(JobId("j")), journal.to_run_again(JobId("j"))) == ({1: "liar"}, set())
        assert journal.doubt("w") == {"j": 1}, "what was checked does not come into doubt"
        assert (journal.credits()["earned"], journal.addresses()[0][0]) == (2.5, "p")
        assert journal.read("SELECT clean, paired FROM trust WHERE peer = 'w'") == [(7.5, 1)]
        journal.close()


def test_a_file_of_version_3_is_written_on_as_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    write_version_3(path, "running")
    journal = Journal.open(path)
    journal.record_results(JobId("j"), [ResultLine(item=1, ok=True, result=11, worker="w")])
    journal.run_again(JobId("j"), [0, 3])
    assert (journal.doubtful(JobId("j")), journal.to_run_again(JobId("j"))) == ({}, {0})
    journal.close()


def test_old_and_new_files_have_the_same_tables(tmp_path: Path) -> None:
    write_version_3(tmp_path / "old.sqlite", "done")
    tables = []
    for name in ("old", "new"):
        journal = Journal.open(tmp_path / f"{name}.sqlite")
        named = journal.read("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
        columns = {name: [row[1] for row in journal.read(f"PRAGMA table_info({name})")] for (name,) in named}
        tables.append(columns)
        journal.close()
    assert tables[0] == tables[1]
