"""What the command writes: files, exit codes, tables, stories; no foreign text reaches the terminal raw."""

import io
import json

import msgspec
import pytest
from rich.console import Console

from cli import results
from cli.console import clean
from cli.exits import DONE, FAILED, INTERRUPTED, NO_WORKER
from cli.progress import StoryTail, detail, waiting_for
from cli.results import exit_code, first_failures, write_results
from cli.show import job_report, jobs_table, peers_table, status_table
from cli.text import count, fault_mark, seconds, size
from peer.kept_view import KeptView
from peer.result_data import line_to_json
from peer.views import ComplaintView, Funnel, JobState, JobView, PeerView, ResultLine, StatusView, WorkerView
from protocol.errors import LocalError

PEER = "12D3KooWHMeDDPeMVKS8iektCF2N7qCDAVcwJR96adz7ndnH576N"
HOSTILE = "evil\x1b[2J\x07name"


def job(state: JobState = JobState.DONE, **more: object) -> JobView:
    return msgspec.convert({"id": "0123456789abcdef", "name": "n", "state": state, "items": 4, **more}, JobView)


def lines(*of: ResultLine) -> list[bytes]:
    return [line_to_json(one).encode() for one in of]


def rendered(what: object) -> str:
    console = Console(file=io.StringIO(), width=200, markup=False)
    console.print(what)
    return console.file.getvalue()


def test_every_input_line_has_a_line_even_when_its_item_was_not_run(tmp_path):
    given = lines(ResultLine(item=1, ok=True, result=float("nan")), ResultLine(item=2, ok=False, error="E: no"))
    write_results(tmp_path, job(JobState.CANCELLED), given)
    written = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [one["item"] for one in written] == [0, 1, 2, 3]
    assert written[0] == {"item": 0, "ok": False, "error": "not run: the job was cancelled"}
    assert written[1]["result"] != written[1]["result"]
    assert json.loads((tmp_path / "report.json").read_text())["state"] == "cancelled"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "results.jsonl"]


def test_results_that_cannot_be_written_leave_the_old_ones_and_say_the_way_out(tmp_path):
    (tmp_path / "results.jsonl").write_text("old\n")

    def broken():
        yield from lines(ResultLine(item=0, ok=True))
        raise OSError(28, "No space left on device")

    with pytest.raises(LocalError, match=r"cannot write .*No space left.*peer job results 0123456789ab --out DIR"):
        write_results(tmp_path, job(), broken())
    assert (tmp_path / "results.jsonl").read_text() == "old\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_first_failures_name_item_worker_and_error(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FAILURES_SHOWN_MAX", 1)
    given = lines(
        ResultLine(item=0, ok=False, error="ValueError: no", worker=PEER),
        ResultLine(item=1, ok=True),
        ResultLine(item=2, ok=False, error="KeyError: 1", worker="me"),
    )
    view = job(JobState.CANCELLED, workers=[{"peer": "me", "state": "working", "local": True}])
    write_results(tmp_path, view, given)
    assert first_failures(tmp_path, view) == [
        "item 0 failed on ndnH576N: ValueError: no",
        "... and 1 more; results.jsonl has them all, with their tracebacks",
        "1 item was not run",
    ]
    monkeypatch.setattr(results, "FAILURES_SHOWN_MAX", 5)
    assert "item 2 failed on this machine: KeyError: 1" in first_failures(tmp_path, view)


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (job(items_done=4), DONE),
        (job(items_done=3, items_failed=1), FAILED),
        (job(JobState.CANCELLED), INTERRUPTED),
        (job(JobState.FAILED), NO_WORKER),
        (job(JobState.FAILED, items_done=1), FAILED),
        (job(JobState.FAILED, funnel={"awarded": 1}), FAILED),
        (job(JobState.INTERRUPTED), FAILED),
        (job(JobState.PAUSED, items_done=2), FAILED),
    ],
)
def test_the_exit_code_says_how_the_job_ended(view, code):
    assert exit_code(view) == code


def test_a_retry_without_a_worker_ends_as_a_job_without_one():
    assert exit_code(job(JobState.FAILED, items_done=3), 3) == NO_WORKER
    assert exit_code(job(JobState.FAILED, items_done=4), 3) == FAILED
    assert exit_code(job(items_done=4), 3) == DONE


def test_a_story_is_told_once_though_its_beginning_is_forgotten():
    tail = StoryTail()
    assert tail.new_lines(job(events=["a", "b"])) == ["a", "b"]
    assert tail.new_lines(job(events=["a", "b"])) == []
    assert tail.new_lines(job(events=["b", "c", "d"])) == ["c", "d"]
    assert tail.new_lines(job(events=["x"])) == ["x"]


def test_chunks_that_count_for_now_are_shown_as_done():
    view = job(chunks={"voted": 2, "accepted": 1, "failed": 1, "pending": 6, "split": 3}, items_done=2, elapsed_s=2.0)
    assert detail(view) == "items · 4/10 chunks · 0 workers · 1.0/s"


def test_the_line_below_the_bar_tells_the_time_left_and_what_is_waited_for():
    assert waiting_for(job()) == ""
    assert waiting_for(job(JobState.RUNNING, left_s=12.0, waits=["1 chunk waits", "more"])) == (
        "about 12.0 s left; 1 chunk waits"
    )
    assert waiting_for(job(JobState.CALLING, message="looking for workers", waits=["4 items"])) == "looking for workers"


def test_what_others_wrote_cannot_steer_the_terminal():
    worker = WorkerView(peer=PEER, state=f"left: {HOSTILE}", fault=f"lie:{HOSTILE}")
    shown = [
        job_report(job(name=HOSTILE, message=HOSTILE, workers=[worker])),
        jobs_table([job(name=HOSTILE, message=HOSTILE)]),
        peers_table([PeerView(peer=PEER, runtimes=[HOSTILE], sandbox=HOSTILE, addresses=[HOSTILE], fault=HOSTILE)]),
    ]
    for what in shown:
        assert "\x1b" not in rendered(what)
        assert "\x07" not in rendered(what)
    assert clean("plain\ttext\nwith ünïcode ⚠") == "plain\ttext\nwith ünïcode ⚠"


def test_a_report_shows_liars_funnel_and_marks():
    worker = WorkerView(peer=PEER, state="banned: caught lying", fault="lie:0.3", revoked=2, forfeited=1.5)
    funnel = Funnel(found=5, reached=3, unreachable=2, refused={"price too low": 1}, bid=2, outbid=1, awarded=1)
    text = rendered(job_report(job(liars=[PEER], revoked=2, workers=[worker], funnel=funnel, items_done=4)))
    assert "1 liar: ndnH576N; 2 chunks of theirs thrown away and redone" in text
    assert "1.50 forfeited by banned peers" in text
    assert "⚠ lies on purpose (lie:0.3)" in text
    assert "5 found, 3 reached, 2 unreachable, 1 refused (price too low), 2 bid, 1 outbid, 1 awarded" in text


def test_empty_tables_say_what_to_do():
    assert "peer submit python" in rendered(jobs_table([]))
    assert "--bootstrap" in rendered(peers_table([]))


def test_a_status_without_sandbox_or_addresses_reads_well():
    status = StatusView(
        peer=PEER, version="0", pid=1, data_folder="/d", uptime_s=3.0, addresses=[], bootstrap=[], connected=1,
        dht_contacts=2, records=0, slots=0, slots_busy=0, jobs_running=0, leases=0, sandbox="", runtimes=[], price=1.0,
        speed=1.0, chunks_run=1, credits_earned=0.0,
    )  # fmt: skip
    text = rendered(status_table(status))
    assert "nowhere; others cannot reach this peer" in text
    assert "nothing in sandbox none" in text
    assert "landlock is weaker: " in rendered(status_table(msgspec.structs.replace(status, sandbox="landlock")))


def test_the_last_complaint_is_shown_and_cannot_steer_the_terminal():
    status = StatusView(
        peer=PEER, version="0", pid=1, data_folder="/d", uptime_s=3.0, addresses=[], bootstrap=[], connected=1,
        dht_contacts=2, records=0, slots=0, slots_busy=0, jobs_running=0, leases=0, sandbox="", runtimes=[], price=1.0,
        speed=1.0, chunks_run=1, credits_earned=0.0,
    )  # fmt: skip
    assert "found wrong" not in rendered(status_table(status))
    last = ComplaintView(coordinator=PEER, text=f"item 3: {HOSTILE}", at_unix_s=1e9)
    text = rendered(status_table(msgspec.structs.replace(status, complaint=last, complaints=2)))
    assert "found wrong" in text and "item 3: evil" in text and "ndnH576N said so at 2001-09-" in text
    assert "2 complaints in all" in text and "\x1b" not in text


def test_what_is_kept_for_others_and_what_others_handed_over_is_shown():
    status = StatusView(
        peer=PEER, version="0", pid=1, data_folder="/d", uptime_s=3.0, addresses=[], bootstrap=[], connected=1,
        dht_contacts=2, records=0, slots=0, slots_busy=0, jobs_running=0, leases=0, sandbox="", runtimes=[], price=1.0,
        speed=1.0, chunks_run=1, credits_earned=0.0,
        kept=[KeptView(coordinator=PEER, results=12, size_bytes=2**21)] * 4,
    )  # fmt: skip
    text = rendered(status_table(status))
    assert "48 results (8.0 MiB) for ndnH576N, ndnH576N, ndnH576N and 1 more" in text
    workers = [WorkerView(peer=PEER, state="working", handed_over=count) for count in (2, 0, 1)]
    job = JobView(id="0123", name="n", state=JobState.DONE, resumes=1, workers=workers)
    assert "1 time; what was done before was not done again; 3 results handed over by 2 peers" in rendered(
        job_report(job)
    )
    assert "handed over" not in rendered(job_report(msgspec.structs.replace(job, workers=[])))


@pytest.mark.parametrize(
    ("fault", "mark"),
    [
        (None, ""),
        ("lie:0.3", "⚠ lies on purpose (lie:0.3)"),
        ("crash:0.1", "⚠ crashes on purpose (crash:0.1)"),
        ("new:1", "⚠ misbehaves on purpose (new:1)"),
    ],
)
def test_misbehaviour_on_purpose_is_marked(fault, mark):
    assert fault_mark(fault) == mark


def test_numbers_read_as_people_say_them():
    assert [seconds(value) for value in (0, 0.0123, 1.25, 99.9, 125, 7384)] == [
        "0 s", "12 ms", "1.2 s", "99.9 s", "2 min 05 s", "2 h 03 min",
    ]  # fmt: skip
    assert [size(value) for value in (0, 1023, 1024, 150 * 1024, 5 * 1024**3)] == [
        "0 B", "1023 B", "1.0 KiB", "150 KiB", "5.0 GiB",
    ]  # fmt: skip
    assert [count(1, "chunk"), count(2000, "chunk"), count(0, "mismatch", "mismatches")] == [
        "1 chunk", "2,000 chunks", "0 mismatches",
    ]  # fmt: skip


def test_results_in_doubt_and_files_that_are_old_are_told_with_the_way_out():
    text = rendered(job_report(job(doubtful=3)))
    assert "3 results on the word of a peer found lying since: `peer job retry 0123456789ab` does them again" in text
    assert "retried" not in text
    text = rendered(job_report(job(retries=2, ended_at_unix_s=1e9)))
    assert "2 times; files written before 2001-09-0" in text
    assert "`peer job results 0123456789ab --out DIR --force` writes them anew" in text
    assert "retried" not in rendered(job_report(job(JobState.RUNNING, retries=1)))
