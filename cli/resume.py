"""`peer job resume`: go on with a job that was paused or interrupted, and follow it to its end."""

from cli.console import print_json, say, show
from cli.exits import DONE, WrongUse
from cli.interrupts import terminated_like_interrupted
from cli.progress import JobProgress
from cli.results import exit_code
from cli.submit import run_to_the_end
from peer.control_client import ControlClient
from peer.views import JobView
from protocol.errors import LocalError, Unavailable


def resume_job(client: ControlClient, job: str, *, detach: bool, as_json: bool) -> int:
    """The whole command; returns its exit code, which means what that of `peer submit` does."""
    try:
        begun = client.resume(job)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    last = begun if detach else _follow(client, begun)
    if as_json:
        print_json(last)
    elif detach:
        say(f"{last.name} ({last.id[:12]}) goes on: `peer job show {last.id[:12]}` shows how far it is")
    else:
        from cli.show import job_report

        show(job_report(last))
        say(f"its results: `peer job results {last.id[:12]} --out DIR`")
    return DONE if detach else exit_code(last)


def _follow(client: ControlClient, begun: JobView) -> JobView:
    try:
        with terminated_like_interrupted(), JobProgress(begun.name) as progress:
            return run_to_the_end(client, begun.id, progress)
    except Unavailable as error:
        raise LocalError(f"{error}; the job goes on by itself after `peer start`") from error
