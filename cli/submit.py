"""`peer submit`: find or start a peer, follow the job, write what it gave; whatever its runtime."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cli.child import ChildPeer, peer_options
from cli.console import print_json, say, show
from cli.exits import DONE, INTERRUPTED, WrongUse
from cli.inputs import prepare_out
from cli.interrupts import terminated_like_interrupted
from cli.progress import JobProgress, follow
from cli.result_files import ResultFolder
from cli.results import exit_code, first_failures, write_results
from cli.submit_options import JobOptions
from peer.control_client import ControlClient, NoPeer
from peer.data_folder import DataFolder, default_data_folder
from peer.views import JobRequest, JobView
from protocol.errors import LocalError, ParallelPeerError, Unavailable

JOIN_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job whose options and inputs have been checked."""

    options: JobOptions
    request: Callable[[ControlClient], JobRequest]
    """Puts its files into the cache of the peer, and gives the request. May take long."""
    finish: Callable[[JobView], None] = lambda last: None
    """What is left to do with the files, once the job has ended."""


def submit(job: Prepared) -> int:
    """The whole command; returns its exit code."""
    options = job.options
    for address in options.bootstrap:
        _check_bootstrap(address)
    if not options.detach:
        prepare_out(options.out, force=options.force)
    with terminated_like_interrupted():
        try:
            with peer_for_the_job(options) as client:
                return _run(client, job)
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED


@contextmanager
def peer_for_the_job(options: JobOptions) -> Iterator[ControlClient]:
    """The peer that runs on the folder, or one that is started for the job and ended after it."""
    folder = DataFolder(options.data if options.data is not None else default_data_folder())
    client = ControlClient(folder.socket())
    try:
        client.status()
    except NoPeer:
        say(f"no peer runs on {folder.path}; starting one for this job")
    else:
        if options.bootstrap:
            say("a peer runs already; --bootstrap is for starting one and is not used")
        yield client
        return
    with ChildPeer(folder, *peer_options(bootstrap=options.bootstrap), stays=options.detach) as child:
        child.wait_for("joined", JOIN_TIMEOUT_S)
        yield child.client
        if options.detach:
            say(f"the peer stays to finish the job (process {child.pid}); `peer stop` ends it")


def run_to_the_end(
    client: ControlClient,
    name: str,
    job: str,
    *,
    with_story: bool = False,
    also: Callable[[JobView], None] = lambda view: None,
) -> JobView:
    """Show how far the job is until it has ended, and tell `also`; Ctrl-C cancels it and waits for its last view.

    Raises `LocalError` when its peer is gone.
    """
    try:
        with JobProgress(name, with_story=with_story) as progress:

            def on_view(view: JobView) -> None:
                progress.show(view)
                also(view)

            try:
                return follow(client, job, on_view)
            except KeyboardInterrupt:
                progress.note("cancelling; what is finished is kept (Ctrl-C again to leave at once)")
                client.cancel(job)
                return follow(client, job, on_view)
    except Unavailable as error:
        raise LocalError(f"{error}; the job {job[:12]} stays in its journal: `peer start` goes on with it") from error


def _run(client: ControlClient, prepared: Prepared) -> int:
    options, request = prepared.options, prepared.request(client)
    try:
        job = client.submit(request)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    if options.detach:
        _say_detached(job, options)
        return DONE
    files = ResultFolder(client, job, options.out)
    last = run_to_the_end(client, request.name, job, also=files.on_view)
    write_results(options.out, last, files.complete())
    prepared.finish(last)
    _report(last, options)
    return exit_code(last)


def _say_detached(job: str, options: JobOptions) -> None:
    if options.as_json:
        print_json({"job": job})
        return
    out = f"--out {options.out}"
    print(job)  # noqa: T201 - the id alone, for scripts
    say(f"follow it with `peer job show {job[:12]}`, fetch its results with `peer job results {job[:12]} {out}`")


def _report(job: JobView, options: JobOptions) -> None:
    if options.as_json:
        print_json({"out": str(options.out), "job": job})
        return
    from cli.show import job_report

    show(job_report(job))
    for line in first_failures(options.out, job):
        say(line)
    say(f"results in {options.out / 'results.jsonl'}, report in {options.out / 'report.json'}")


def _check_bootstrap(address: str) -> None:
    from peer.addresses import parse_bootstrap

    try:
        parse_bootstrap(address)
    except ParallelPeerError as error:
        raise WrongUse(str(error)) from error
