"""`peer job resume`: go on with a job that was paused or interrupted, and follow it to its end."""

from cli.console import print_json, say, show
from cli.exits import DONE, WrongUse
from cli.interrupts import terminated_like_interrupted
from cli.results import exit_code
from cli.submit import run_to_the_end
from peer.control_client import ControlClient
from protocol.errors import LocalError


def resume_job(client: ControlClient, job: str, *, detach: bool, as_json: bool) -> int:
    """The whole command; returns its exit code, which means what that of `peer submit` does."""
    try:
        begun = client.resume(job)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    if detach:
        last = begun
    else:
        with terminated_like_interrupted():
            last = run_to_the_end(client, begun.name, begun.id)
    if as_json:
        print_json(last)
    elif detach:
        say(f"{last.name} ({last.id[:12]}) goes on: `peer job show {last.id[:12]}` shows how far it is")
    else:
        from cli.show import job_report

        show(job_report(last))
        say(f"its results: `peer job results {last.id[:12]} --out DIR`")
    return DONE if detach else exit_code(last)
