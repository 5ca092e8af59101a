"""`peer submit`: check the inputs, find or start a peer, follow the job, write what it gave."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cli.blob_options import into_cache, parse_blob_options
from cli.child import ChildPeer, peer_options
from cli.console import print_json, say, show
from cli.exits import DONE, INTERRUPTED, WrongUse
from cli.inputs import check_has_verify, prepare_out, read_items, read_job_file
from cli.interrupts import terminated_like_interrupted
from cli.needs import NeedsTyped, parse_needs
from cli.progress import JobProgress, follow
from cli.results import exit_code, first_failures, write_results
from peer.control_client import ControlClient, NoPeer
from peer.data_folder import DataFolder
from peer.views import JobRequest, JobView
from protocol.errors import LocalError, ParallelPeerError, Unavailable

JOIN_TIMEOUT_S = 30.0
RUNTIMES = ("python",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """What the user said on the command line, besides the job itself."""

    job_file: Path
    inputs: Path
    out: Path
    force: bool
    detach: bool
    as_json: bool
    folder: DataFolder
    bootstrap: Sequence[str]
    blobs: Sequence[str] = ()


RequestMaker = Callable[[str, list[object]], JobRequest]


def make_request(*, runtime: str, local: str, needs: NeedsTyped, **wanted: str | float | int) -> RequestMaker:
    """Check the options of a job; what comes back makes the request once code and items are read. Raises `WrongUse`."""
    if runtime not in RUNTIMES:
        raise WrongUse(f"no runtime {runtime!r}; there is {', '.join(RUNTIMES)}")
    wanted["audit_share"] = _share("--audit-share", str(wanted["audit_share"]))
    _check_policy(wanted)
    _check_comparator(str(wanted["compare"]))
    plain = {**wanted, "runtime": runtime, "local": _slots(local), **parse_needs(needs)}

    def make(code: str, items: list[object]) -> JobRequest:
        return msgspec.convert({**plain, "code": code, "items": items}, JobRequest)

    try:
        make("", [])
    except msgspec.ValidationError as error:
        raise WrongUse(f"an option of the job is out of range: {error}") from error
    return make


def submit(options: SubmitOptions, make: RequestMaker) -> int:
    """The whole command; returns its exit code."""
    for address in options.bootstrap:
        _check_bootstrap(address)
    wanted = parse_blob_options(options.blobs)
    request = make(read_job_file(options.job_file), read_items(options.inputs))
    if request.compare.strip() == "verify":
        check_has_verify(options.job_file, request.code)
    if not options.detach:
        prepare_out(options.out, force=options.force)
    with terminated_like_interrupted():
        try:
            with peer_for_the_job(options) as client:
                blobs = [into_cache(client, one) for one in wanted]
                return _run(client, msgspec.structs.replace(request, blobs=blobs), options)
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED


@contextmanager
def peer_for_the_job(options: SubmitOptions) -> Iterator[ControlClient]:
    """The peer that runs on the folder, or one that is started for the job and ended after it."""
    client = ControlClient(options.folder.socket())
    try:
        client.status()
    except NoPeer:
        say(f"no peer runs on {options.folder.path}; starting one for this job")
    else:
        if options.bootstrap:
            say("a peer runs already; --bootstrap is for starting one and is not used")
        yield client
        return
    with ChildPeer(options.folder, *peer_options(bootstrap=options.bootstrap), stays=options.detach) as child:
        child.wait_for("joined", JOIN_TIMEOUT_S)
        yield child.client
        if options.detach:
            say(f"the peer stays to finish the job (process {child.pid}); `peer stop` ends it")


def run_to_the_end(client: ControlClient, name: str, job: str, *, with_story: bool = False) -> JobView:
    """Show how far the job is until it has ended; Ctrl-C cancels it and waits for its last view.

    Raises `LocalError` when its peer is gone.
    """
    try:
        with JobProgress(name, with_story=with_story) as progress:
            return _followed(client, job, progress)
    except Unavailable as error:
        raise LocalError(f"{error}; the job {job[:12]} stays in its journal: `peer start` goes on with it") from error


def _followed(client: ControlClient, job: str, progress: JobProgress) -> JobView:
    try:
        return follow(client, job, progress.show)
    except KeyboardInterrupt:
        progress.note("cancelling; what is finished is kept (Ctrl-C again to leave at once)")
        client.cancel(job)
        return follow(client, job, progress.show)


def _run(client: ControlClient, request: JobRequest, options: SubmitOptions) -> int:
    try:
        job = client.submit(request)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    if options.detach:
        _say_detached(job, options)
        return DONE
    last = run_to_the_end(client, request.name, job)
    write_results(options.out, last, client.result_lines(job))
    _report(last, options)
    return exit_code(last)


def _say_detached(job: str, options: SubmitOptions) -> None:
    if options.as_json:
        print_json({"job": job})
        return
    out = f"--out {options.out}"
    print(job)  # noqa: T201 - the id alone, for scripts
    say(f"follow it with `peer job show {job[:12]}`, fetch its results with `peer job results {job[:12]} {out}`")


def _report(job: JobView, options: SubmitOptions) -> None:
    if options.as_json:
        print_json({"out": str(options.out), "job": job})
        return
    from cli.show import job_report

    show(job_report(job))
    for line in first_failures(options.out, job):
        say(line)
    say(f"results in {options.out / 'results.jsonl'}, report in {options.out / 'report.json'}")


def _slots(local: str) -> int:
    if local == "off":
        return 0
    if not local.isascii() or not local.isdigit():
        raise WrongUse(f"--local takes a number of slots or `off`, not {local!r}")
    return int(local)


def _check_bootstrap(address: str) -> None:
    from peer.addresses import parse_bootstrap

    try:
        parse_bootstrap(address)
    except ParallelPeerError as error:
        raise WrongUse(str(error)) from error


def _check_policy(wanted: Mapping[str, str | float | int]) -> None:
    from protocol.adaptive import parse_policy
    from protocol.planner import Target

    names = ("max_error", "max_overhead", "assume_liars", "audit_share")
    target = Target(**{name: float(wanted[name]) for name in names})
    if problem := target.problem():
        raise WrongUse(f"--{problem}")
    try:
        parse_policy(str(wanted["verify"]), target)
    except LocalError as error:
        raise WrongUse(f"--verify: {error}") from error


def _check_comparator(text: str) -> None:
    from protocol.comparators import parse_comparator

    try:
        parse_comparator(text)
    except LocalError as error:
        raise WrongUse(f"--compare: {error}") from error


def _share(option: str, text: str) -> float:
    """`25%` or `0.25`."""
    number, percent = text.strip(), text.strip().endswith("%")
    try:
        return float(number.rstrip("% ")) / (100 if percent else 1)
    except ValueError:
        raise WrongUse(f"{option} takes a share such as 25% or 0.25, not {text!r}") from None
