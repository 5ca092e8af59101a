"""`peer job retry`: do again what of a past job does not stand, and follow it to its end."""

from cli.console import print_json, say, show
from cli.exits import DONE, WrongUse
from cli.interrupts import terminated_like_interrupted
from cli.results import exit_code
from cli.submit import run_to_the_end
from cli.text import count
from peer.control_client import ControlClient
from peer.views import JobView, Retried
from protocol.errors import LocalError


def retry_job(client: ControlClient, job: str, *, as_json: bool) -> int:
    """The whole command; returns its exit code, which means what that of `peer submit` does."""
    try:
        before = client.job(job)
        begun = client.retry(before.id)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    if not begun.items:
        _report(begun.job, begun, as_json=as_json)
        return DONE
    with terminated_like_interrupted():
        last = run_to_the_end(client, begun.job.name, begun.job.id)
    _report(last, begun, as_json=as_json)
    return exit_code(last, before.items_done)


def _report(job: JobView, begun: Retried, *, as_json: bool) -> None:
    if as_json:
        print_json({"retried": begun.items, "job": job})
        return
    if not begun.items:
        say(f"{job.name} ({job.id[:12]}): nothing to do again, all {count(job.items, 'result')} stand")
        return
    from cli.show import job_report

    show(job_report(job))
