"""What `peer job show | auction | logs` print, and how they follow a job to its end."""

import io

import msgspec
import pytest
from rich.console import Console

from cli import job_live
from cli.job_auction import auction_table
from cli.job_live import chunk_bar, live_report, progress_lines, whole_report
from cli.job_logs import plain, show_logs
from peer.control_client import Change, LogRow
from peer.views import CandidateView, Funnel, JobState, JobView, WorkerView

PEER = "12D3KooWHMeDDPeMVKS8iektCF2N7qCDAVcwJR96adz7ndnH576N"
HOSTILE = "evil\x1b[2J\x07name"


def job(state: JobState = JobState.RUNNING, **more: object) -> JobView:
    return msgspec.convert({"id": "0123456789abcdef", "name": "n", "state": state, "items": 4, **more}, JobView)


def rendered(what: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(what)
    return console.file.getvalue()


def running() -> JobView:
    here = WorkerView(peer="me", state="working", local=True, chunks_now=1, oldest_s=1.0)
    other = WorkerView(peer=PEER, state="working", chunks_now=2, oldest_s=40.0, heard_s=0.5)
    gone = WorkerView(peer="gone", state="left: no sign of life")
    waits = [f"2 chunks run on {PEER} since 40 s, others took 3.0 s: a second copy was given to this machine"]
    return job(
        workers=[here, other, gone],
        waits=waits,
        left_s=12.0,
        chunks={"accepted": 6, "running": 2, "leased": 1, "split": 9},
        items_done=2,
    )


@pytest.mark.parametrize("width", [80, 120])
def test_a_running_job_shows_who_is_at_it_and_what_it_waits_for(width):
    text = rendered(whole_report(running()), width)
    assert "■ 6 final   ■ 2 running   ■ 1 handed out" in text.replace("\u00a0", " ")
    assert "split" not in text.partition("■")[2]
    at_work = text.partition("at work now")[2]
    assert at_work.index("ndnH576N") < at_work.index("this machine"), "the longest first"
    assert "40.0 s" in at_work and "0.5 s ago" in at_work
    assert "no sign of life" not in at_work
    assert "about 12.0 s left" in text
    assert "2 chunks run on ndnH576N since 40 s" in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_an_ended_job_waits_for_nothing_and_has_nobody_at_work():
    text = rendered(whole_report(job(JobState.DONE, chunks={"accepted": 3})))
    assert "■ 3 final" in text.replace("\u00a0", " ")
    assert "at work now" not in text and "waits for" not in text and "left" not in text


def test_the_bar_has_a_part_for_each_state_however_small():
    bar = rendered(chunk_bar(job(chunks={"accepted": 10_000, "failed": 1}))).replace("\u00a0", " ")
    assert "10,000 final" in bar and "1 given up" in bar
    assert chunk_bar(job()) is None


def test_the_auction_shows_funnel_reasons_and_a_line_for_each():
    funnel = Funnel(found=3, reached=2, unreachable=1, refused={"price too low": 1}, bid=1, awarded=1)
    candidates = [
        CandidateView(peer=PEER, state="awarded", price=1.5, paid=2.0, speed=0.75, slots=4, clean=31.0),
        CandidateView(peer="b" * 52, state="refused", reason="price too low", price=9.0),
        CandidateView(peer="c" * 52, state="unreachable", reason=f"{'c' * 52}: {HOSTILE}", again_s=3.0),
    ]
    text = rendered(auction_table(job(funnel=funnel, candidates=candidates)))
    assert "1 unreachable" in text and "1 refused: price too low" in text
    first = next(line for line in text.splitlines() if line.startswith("ndnH576N"))
    assert first.split() == ["ndnH576N", "awarded", "1.50", "2.00", "0.75", "4", "31"]
    assert "called again in 3.0 s" in " ".join(text.split())
    assert "\x1b" not in text and "\x07" not in text


def test_an_auction_without_candidates_says_why():
    assert "Nobody was found yet" in rendered(auction_table(job()))
    assert "Is another peer running" in rendered(auction_table(job(JobState.FAILED)))
    assert "older version" in rendered(auction_table(job(JobState.DONE, funnel=Funnel(found=2))))


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        ("\x1b[31mred\x1b[0m\n", ["red"]),
        ("\x1b]0;title\x07shown\x1b]8;;http://x\x1b\\link", ["shownlink"]),
        (" 10%\r 50%\r100%\n", ["100%"]),
        ("one\r\ntwo\n", ["one", "two"]),
        ("bell\x07 and \x9b2J", ["bell� and �2J"]),
        ("unfinished \x1b[", ["unfinished "]),
        ("\u202egnp.exe", ["�gnp.exe"]),
    ],
)
def test_what_code_printed_cannot_steer_the_terminal(raw, lines):
    assert plain(raw) == lines


class FakeClient:
    """A job that goes through `views`, and whose output comes row by row."""

    def __init__(self, *views: JobView, rows: list[list[LogRow]] | None = None) -> None:
        self.views = list(views)
        self.rows = rows or []

    def job(self, _job: str) -> JobView:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]

    def wait_change(self, _job: str, version: int) -> Change:
        return Change(version + 1, self.job(""))

    def logs(self, _job: str, _chunk: int | None, after: int) -> list[LogRow]:
        come = [row for rows in self.rows[: 4 - len(self.views)] for row in rows]
        return [row for row in come if row.number > after]


def test_logs_are_followed_until_the_job_has_ended_and_the_last_are_not_missed(capsysbinary):
    rows = [[LogRow(7, 0, PEER, "a\n")], [LogRow(9, 1, PEER, "b\n")], [LogRow(12, 2, "me", "\x1b[1mc\n")]]
    client = FakeClient(job(), job(), job(), job(JobState.DONE), rows=rows)
    show_logs(client, "last", None, follow=True, as_json=False)
    assert capsysbinary.readouterr().out.decode().splitlines() == [
        "chunk 0 on ndnH576N | a",
        "chunk 1 on ndnH576N | b",
        "chunk 2 on me | c",
    ]


def test_a_job_is_watched_to_its_end_in_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(job_live, "WATCH_INTERVAL_S", 0.0)
    client = FakeClient(running(), running(), job(JobState.DONE, items_done=4))
    job_live.show_job(client, "last", watch=True, as_json=False)
    shown = capsys.readouterr()
    assert shown.err.count("2 chunks run on ndnH576N") == 1, "what has not changed is not said again"
    assert "4 of 4 done" in shown.out


def test_a_log_line_tells_progress_and_time_left():
    assert "waits for" in rendered(live_report(running())) and "speed-up" not in rendered(live_report(running()))
    assert progress_lines(running())[0] == "n: 2 of 4 items, about 12.0 s left"
