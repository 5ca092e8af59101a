"""`peer job list | show | logs | pause | cancel | results`: ask the running peer about its jobs."""

from pathlib import Path

from cli.console import clean, print_json, say, show, write_lines
from cli.inputs import prepare_out
from cli.results import first_failures, write_results
from cli.text import short_peer
from peer.control_client import ControlClient


def list_jobs(client: ControlClient, *, as_json: bool) -> None:
    """All jobs of the peer, the newest first."""
    jobs = client.jobs()
    if as_json:
        print_json(jobs)
        return
    from cli.show import jobs_table

    show(jobs_table(jobs))


def show_job(client: ControlClient, job: str, *, as_json: bool) -> None:
    """One job with its workers and the last lines of its story."""
    view = client.job(job)
    if as_json:
        print_json(view)
        return
    from cli.show import job_report, story

    show(job_report(view))
    if view.events:
        show(story(view))


def show_logs(client: ControlClient, job: str, chunk: int | None, *, as_json: bool) -> None:
    """What the job's code printed on the workers."""
    rows = client.logs(job, chunk)
    if as_json:
        print_json(rows)
        return
    if not rows:
        say("nothing was printed" + (f" by chunk {chunk}" if chunk is not None else ""))
    for row in rows:
        head = f"chunk {row.chunk} on {short_peer(row.peer)} | "
        write_lines([(head + clean(line)).encode(errors="replace") for line in row.text.splitlines()])


def cancel_job(client: ControlClient, job: str, *, as_json: bool) -> None:
    """Cancel a running job; what is finished stays."""
    view = client.cancel(job)
    if as_json:
        print_json(view)
    else:
        say(f"{view.name} ({view.id[:12]}) is {view.state}, {view.items_done} of {view.items} items are done and kept")


def pause_job(client: ControlClient, job: str, *, as_json: bool) -> None:
    """Stop working on a job until it is resumed; what is finished stays."""
    view = client.pause(job)
    if as_json:
        print_json(view)
    else:
        say(f"{view.name} ({view.id[:12]}) is {view.state}, {view.items_done} of {view.items} items are done and kept; "
            f"`peer job resume {view.id[:12]}` goes on")  # fmt: skip


def fetch_results(client: ControlClient, job: str, out: Path | None, *, force: bool, as_json: bool) -> None:
    """The results of a job into a folder, or as JSON lines on standard output where none is given."""
    view = client.job(job)
    if out is None:
        write_lines(client.result_lines(view.id))
        return
    prepare_out(out, force=force)
    write_results(out, view, client.result_lines(view.id))
    if as_json:
        print_json({"out": str(out), "job": view})
        return
    for line in first_failures(out, view):
        say(line)
    say(f"{view.items_done:,} of {view.items:,} items are done ({view.state}); results in {out / 'results.jsonl'}")
