"""`peer job show JOB`: one job with all that is known of it, what it waits for and why; live with `--watch`."""

import sys
import time
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.console import clean, out, print_json, say, show
from cli.job_auction import auction_table
from cli.show import job_report, story
from cli.text import count, seconds, with_names, worker_name
from peer.control_client import ControlClient
from peer.views import JobView

WATCH_INTERVAL_S = 0.5
STORY_LINES_WATCHED = 8
BAR_WIDTH = 60
_NO_BREAK = "\u00a0"
_STATES = (
    ("accepted", "final", "green"),
    ("audited", "done again here", "green"),
    ("voted", "agreed on", "green"),
    ("trusted", "taken on trust", "bright_green"),
    ("committed", "to be checked", "cyan"),
    ("running", "running", "blue"),
    ("leased", "handed out", "bright_blue"),
    ("pending", "waiting", "yellow"),
    ("failed", "given up", "red"),
)
"""Chunks by state as people see them; those that were split live on in others."""


def show_job(client: ControlClient, job: str, *, watch: bool, as_json: bool) -> None:
    """One job with its workers and the last lines of its story; with `watch` until it ends."""
    if watch:
        watch_job(client, job, live_report, as_json=as_json)
        return
    view = client.job(job)
    print_json(view) if as_json else show(whole_report(view))


def show_auction(client: ControlClient, job: str, *, watch: bool, as_json: bool) -> None:
    """The auction of one job, as it is or as it was when the job ended; with `watch` until it ends."""
    if watch:
        watch_job(client, job, auction_table, as_json=as_json)
        return
    view = client.job(job)
    print_json({"job": view.id, "funnel": view.funnel, "candidates": view.candidates}) if as_json else show(
        auction_table(view)
    )


def watch_job(client: ControlClient, job: str, draw: Callable[[JobView], RenderableType], *, as_json: bool) -> JobView:
    """Show the job again and again until it has ended: in place on a terminal, as lines elsewhere; its last view."""
    view = client.job(job)
    if as_json or not out().is_terminal:
        return _watch_lines(client, view, draw, as_json=as_json)
    with Live(draw(view), console=out(), transient=True, auto_refresh=False) as live:
        while not view.state.is_final:
            time.sleep(WATCH_INTERVAL_S)
            view = client.job(view.id)
            live.update(draw(view), refresh=True)
    show(draw(view))
    return view


def _watch_lines(
    client: ControlClient, view: JobView, draw: Callable[[JobView], RenderableType], *, as_json: bool
) -> JobView:
    said: list[str] = []
    while not view.state.is_final:
        lines = progress_lines(view)
        if as_json:
            print_json(view)
        elif [line for line in lines if line not in said]:
            say("\n".join(lines))
            said = lines
        time.sleep(WATCH_INTERVAL_S if as_json else 2 * WATCH_INTERVAL_S)
        view = client.job(view.id)
    print_json(view) if as_json else show(draw(view))
    sys.stdout.flush()
    return view


def progress_lines(job: JobView) -> list[str]:
    """The state of a running job for a log."""
    left = f", about {seconds(job.left_s)} left" if job.left_s is not None else ""
    head = f"{job.name}: {job.items_done + job.items_failed:,} of {job.items:,} items{left}"
    waits = [*([job.message] if job.message else []), *job.waits]
    return [head, *(f"  {with_names(line, job)}" for line in waits)]


def whole_report(job: JobView) -> RenderableType:
    """All of a job."""
    parts = [job_report(job)]
    if bar := chunk_bar(job):
        parts.append(bar)
    if not job.state.is_final:
        parts += [now_table(job), waits_table(job)]
    if job.events:
        parts.append(story(job))
    return Group(*parts)


def live_report(job: JobView) -> RenderableType:
    """What changes while a job runs, short enough for a terminal of few lines; all of it once the job has ended."""
    if job.state.is_final:
        return whole_report(job)
    head = Text(clean(f"{job.name}: {job.state}, {job.items_done + job.items_failed:,} of {job.items:,} items"), "bold")
    failed = [Text(f"{count(job.items_failed, 'item')} failed", "red")] if job.items_failed else []
    parts = [head, *failed, chunk_bar(job), now_table(job), waits_table(job), story(job, STORY_LINES_WATCHED)]
    return Group(*(part for part in parts if part is not None))


def chunk_bar(job: JobView) -> RenderableType | None:
    """The chunks by state as one bar with its legend; None before there is a chunk."""
    there = [(name, style, job.chunks[state]) for state, name, style in _STATES if job.chunks.get(state)]
    total = sum(number for _, _, number in there)
    if not total:
        return None
    bar, done, seen = Text(), 0, 0
    for _, style, number in there:
        seen += number
        width = max(1, round(BAR_WIDTH * seen / total) - done)
        bar.append("█" * width, style)
        done += width
    legend = Text("   ").join(
        Text.assemble(("■", style), f"{_NO_BREAK}{number:,}{_NO_BREAK}{name.replace(' ', _NO_BREAK)}")
        for name, style, number in there
    )
    return Group(bar, legend)


def now_table(job: JobView) -> RenderableType:
    """Who has what at this moment."""
    table = Table("at work now", box=None, pad_edge=False)
    for name in ("chunks", "oldest", "last heard"):
        table.add_column(name, justify="right", no_wrap=True)
    working = [one for one in job.workers if one.state == "working"]
    for one in sorted(working, key=lambda one: -(one.oldest_s or 0.0)):
        table.add_row(
            worker_name(one),
            str(one.chunks_now),
            "-" if one.oldest_s is None else seconds(one.oldest_s),
            "-" if one.heard_s is None else f"{seconds(one.heard_s)} ago",
        )
    return table if working else Text("nobody is at work now", "yellow")


def waits_table(job: JobView) -> RenderableType:
    """What the job waits for, and how long it will take."""
    lines = [*([job.message] if job.message else []), *job.waits]
    left = f"about {seconds(job.left_s)} left" if job.left_s is not None else "time left not known yet"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("to go", left)
    for place, line in enumerate(lines):
        table.add_row("" if place else "waits for", clean(with_names(line, job)))
    return table
