"""The journal: what it keeps, what it bounds, and what a full or damaged disk does."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from receipts import receipt

from peer import journal as journal_module
from peer.journal import Journal
from peer.result_data import line_to_json
from peer.views import JobRequest, JobState, JobView, ResultLine
from protocol.arrays import TypedArray
from protocol.errors import LocalError
from protocol.ids import JobId

REQUEST = JobRequest(name="squares", code="def run(item): return item * item", items=[1, {"x": 2}, None])
JOB = JobId("job-1")


def view(job: str = JOB, state: JobState = JobState.RUNNING) -> JobView:
    return JobView(id=job, name="squares", state=state, items=3)


@pytest.fixture
def journal():
    opened = Journal.open(None)
    yield opened
    opened.close()


def test_jobs_come_newest_first_and_keep_their_last_view(journal):
    journal.add_job(view("a"), REQUEST)
    journal.add_job(view("b"), REQUEST)
    journal.save_job(view("a", JobState.DONE))
    assert [(one.id, one.state) for one in journal.jobs()] == [("b", "running"), ("a", "done")]
    assert journal.job(JobId("a")).state is JobState.DONE
    assert journal.job(JobId("nobody")) is None
    assert journal.request(JobId("a")) == REQUEST


def test_a_running_job_is_unfinished_after_a_restart_and_its_results_stay(tmp_path: Path):
    first = Journal.open(tmp_path / "journal.sqlite")
    first.add_job(view(), REQUEST)
    first.add_job(view("done", JobState.DONE), REQUEST)
    first.record_results(JOB, [ResultLine(item=0, ok=True, result=7)])
    first.close()
    second = Journal.open(tmp_path / "journal.sqlite")
    assert [one.id for one in second.unfinished()] == [JOB]
    assert second.job(JobId("done")).state is JobState.DONE
    assert [one.result for one in second.results(JOB)] == [7]
    second.close()


def test_a_killed_process_loses_nothing_that_was_written(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    script = f"""
import os, signal
from pathlib import Path
from peer.journal import Journal
from peer.views import ResultLine
journal = Journal.open(Path({str(path)!r}))
journal.record_results("j", [ResultLine(item=n, ok=True, result=n) for n in range(500)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    again = Journal.open(path)
    assert [one.item for one in again.results(JobId("j"))] == list(range(500))
    again.close()


def test_results_are_replaced_removed_and_read_in_item_order(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "RESULT_ROWS_PER_READ", 2)
    journal.record_results(JOB, [ResultLine(item=n, ok=True, result=n) for n in (4, 0, 3, 1, 2)])
    journal.record_results(JOB, [ResultLine(item=2, ok=False, error="E", traceback="T", worker="w")])
    journal.remove_results(JOB, [0, 3, 99])
    lines = list(journal.results(JOB))
    assert [one.item for one in lines] == [1, 2, 4]
    assert lines[1] == ResultLine(item=2, ok=False, error="E", traceback="T", worker="w")


@pytest.mark.parametrize(
    "value",
    [2**90, -(2**90), b"\x00\xff", {"nested": [1, None, True, "ü"]}, 1e300, math.inf],
)
def test_every_kind_of_result_survives(journal, value):
    journal.record_results(JOB, [ResultLine(item=0, ok=True, result=value)])
    assert next(journal.results(JOB)).result == value


def test_nan_and_arrays_survive_and_are_shown_as_json(journal):
    array = TypedArray("float64", (2, 1), b"\x00" * 8 + b"\x00\x00\x00\x00\x00\x00\xf0?")
    journal.record_results(JOB, [ResultLine(item=0, ok=True, result=[math.nan, array, b"ab"])])
    line = next(journal.results(JOB))
    assert line.result[1] == array
    assert line_to_json(line) == '{"item": 0, "ok": true, "result": [NaN, [[0.0], [1.0]], {"base64": "YWI="}]}'


def test_a_result_that_is_not_data_keeps_nothing_of_its_batch(journal):
    with pytest.raises(TypeError):
        journal.record_results(JOB, [ResultLine(item=0, ok=True), ResultLine(item=1, ok=True, result=object())])
    assert list(journal.results(JOB)) == []


def test_logs_are_bounded_per_job(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "LOG_ROWS_PER_JOB_MAX", 3)
    journal.add_log(JobId("other"), 0, "p", "untouched")
    for chunk in range(5):
        journal.add_log(JOB, chunk, "p", f"line {chunk}")
    assert [row[1] for row in journal.logs(JOB)] == [2, 3, 4]
    assert [row[1:] for row in journal.logs(JOB, 3)] == [(3, "p", "line 3")]
    assert [row[1:] for row in journal.logs(JobId("other"))] == [(0, "p", "untouched")]


def test_old_finished_jobs_go_with_their_results_but_running_ones_stay(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "JOBS_KEPT_MAX", 2)
    journal.add_job(view("running"), REQUEST)
    journal.add_job(view("old", JobState.DONE), REQUEST)
    journal.record_results(JobId("old"), [ResultLine(item=0, ok=True)])
    for name in ("c", "d"):
        journal.add_job(view(name, JobState.DONE), REQUEST)
    assert [one.id for one in journal.jobs()] == ["d", "c", "running"]
    assert list(journal.results(JobId("old"))) == []


def test_a_receipt_counts_once(journal):
    for number, given in ((0, False), (0, False), (1, False), (0, True)):
        journal.add_receipt(b"signed", receipt(number, 1.5), given=given, peer="p")
    journal.add_receipt(b"signed", receipt(0, 1.5, "another lease"), given=False, peer="p")
    journal.add_receipt(b"signed", receipt(0, 1.5), given=False, peer="q")
    assert journal.credits() == {"earned": 6.0, "spent": 1.5}


def test_a_receipt_signed_anew_or_changed_does_not_count_again(journal):
    """Its coordinator has the key: it can make as many envelopes of one receipt as it likes."""
    journal.add_receipt(b"signed", receipt(0, 1.5), given=False, peer="p")
    journal.add_receipt(b"signed with another nonce", receipt(0, 1.5), given=False, peer="p")
    journal.add_receipt(b"a larger one", receipt(0, 100.0), given=False, peer="p")
    assert journal.credits()["earned"] == 1.5
    assert journal.read("SELECT envelope FROM receipts") == [(b"signed",)]


def test_the_address_book_is_bounded_and_newest_first(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "ADDRESS_BOOK_PEERS_MAX", 2)
    for peer in ("a", "b", "a", "c"):
        journal.remember_addresses(peer, ["/ip4/127.0.0.1/tcp/1"] * 40)
    assert [(peer, len(addresses)) for peer, addresses in journal.addresses()] == [("c", 16), ("a", 16)]


def test_a_full_disk_is_said_with_the_file_and_loses_nothing(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    journal = Journal.open(path)
    journal.record_results(JOB, [ResultLine(item=0, ok=True, result="kept")])
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    big = [ResultLine(item=n, ok=True, result="x" * 4000) for n in range(1, 50)]
    with pytest.raises(LocalError, match=r"journal\.sqlite is full.*Free some space"):
        journal.record_results(JOB, big)
    assert [one.result for one in journal.results(JOB)] == ["kept"]
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.record_results(JOB, big)
    assert len(list(journal.results(JOB))) == 50
    journal.close()


def test_a_damaged_file_and_a_newer_one_are_told_apart(tmp_path: Path):
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LocalError, match=r"damaged\.sqlite is damaged"):
        Journal.open(damaged)
    newer = Journal.open(tmp_path / "newer.sqlite")
    newer._connection.execute("PRAGMA user_version = 999")
    newer.close()
    with pytest.raises(LocalError, match=r"newer Parallel Peer"):
        Journal.open(tmp_path / "newer.sqlite")


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path):
    with pytest.raises(LocalError, match="cannot use the journal"):
        Journal.open(tmp_path / "no" / "journal.sqlite")
