"""`peer job list | pause | cancel | results`: ask the running peer about its jobs."""

from pathlib import Path

from cli.console import print_json, say, show, write_lines
from cli.inputs import prepare_out
from cli.results import first_failures, write_results
from peer.control_client import ControlClient


def list_jobs(client: ControlClient, *, as_json: bool) -> None:
    """All jobs of the peer, the newest first."""
    jobs = client.jobs()
    if as_json:
        print_json(jobs)
        return
    from cli.show import jobs_table

    show(jobs_table(jobs))


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
    from cli.result_files import ResultFolder

    prepare_out(out, force=force)
    write_results(out, view, ResultFolder(client, view.id, out).complete())
    if as_json:
        print_json({"out": str(out), "job": view})
        return
    for line in first_failures(out, view):
        say(line)
    say(f"{view.items_done:,} of {view.items:,} items are done ({view.state}); results in {out / 'results.jsonl'}")
