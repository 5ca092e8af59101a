"""`peer demo`: four peers as processes of this machine, one of which begins to lie, and a search on real data."""

import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.table import Table

from cli.child import ChildPeer, peer_options
from cli.console import err, print_json, say, show
from cli.demo import search
from cli.exits import INTERRUPTED, WrongUse
from cli.interrupts import terminated_like_interrupted
from cli.results import RESULTS_NAME, exit_code, write_results
from cli.show import job_report, peers_table
from cli.submit import run_to_the_end
from cli.text import count, fault_mark, short_peer
from peer.data_folder import DataFolder
from peer.views import JobRequest, JobView, PeerView, ResultLine
from protocol.errors import LocalError

HONEST_CHUNKS = 6
"""Soon enough for it to wake in every demonstration, and enough for some of its results to count by then."""
SLEEPER = f"sleeper:{HONEST_CHUNKS}"
NAMES = ("alice", "bob", "carol", "mallory")
"""alice submits, mallory sleeps and then lies."""
LISTEN = "/ip4/127.0.0.1/tcp/0"
KNOWN_TIMEOUT_S = 30.0
KNOWN_POLL_S = 0.2
BEST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Best:
    """The best choice, what its fit on the test part gives here, and the runners-up."""

    choices: list[dict[str, float]]
    true_accuracy: float


def run_demo(*, keep: bool, as_json: bool) -> int:
    """The whole demonstration; returns the exit code of its job."""
    if importlib.util.find_spec("sklearn") is None:
        raise WrongUse("the demonstration needs scikit-learn: install it with `python -m pip install scikit-learn`")
    with terminated_like_interrupted(), _folder(keep=keep) as folder:
        try:
            with _four_peers(folder) as peers:
                return _run(peers, folder, as_json=as_json)
        except KeyboardInterrupt:
            say("interrupted; the peers are stopped")
            return INTERRUPTED


def _run(peers: list[ChildPeer], folder: Path, *, as_json: bool) -> int:
    known = _wait_until_known(peers[0])
    if not as_json:
        err().print(peers_table(known))
    say(f"\nThe job: {len(search.choices())} choices of hyper-parameters for a support vector machine that reads")
    say("handwritten digits, each cross-validated on five folds. The peers are strangers: of nearly all results a")
    say(f"second peer must give the same, and {NAMES[0]} computes again what they differ about and a secret sample.")
    say(f"{NAMES[-1]} is a sleeper: honest for {HONEST_CHUNKS} chunks, to seem reliable, and a liar from then on.\n")
    client = peers[0].client
    job = client.submit(_request())
    last = run_to_the_end(client, "digits", job, with_story=True)
    out = folder / "results"
    out.mkdir()
    write_results(out, last, client.result_lines(job))
    best = _best(out)
    if as_json:
        print_json({"job": last, "best": best.choices[:1], "true_accuracy": best.true_accuracy})
    else:
        _show(last, best)
    return exit_code(last)


def _request() -> JobRequest:
    code = Path(search.__file__).read_text(encoding="utf-8")
    return JobRequest(name="digits", code=code, items=list(search.choices()), local=1, worker_wait_s=30.0)


@contextmanager
def _four_peers(folder: Path) -> Iterator[list[ChildPeer]]:
    """Started, joined, and ended by their ids whatever happens."""
    say("Starting four peers on this machine, one of which lies:")
    with ExitStack() as stack:
        first = stack.enter_context(_peer(folder, NAMES[0]))
        line = first.wait_for("ready").bootstrap[0]
        others = [stack.enter_context(_peer(folder, name, line)) for name in NAMES[1:]]
        peers = [first, *others]
        try:
            for name, peer in zip(NAMES, peers, strict=True):
                peer.wait_for("joined")
                fault = fault_mark(SLEEPER) if name == NAMES[-1] else ""
                say(f"  {name:8} {short_peer(peer.client.status().peer)}  process {peer.pid}  {fault}")
            yield peers
        finally:
            for peer in peers:
                peer.ask_to_end()


def _peer(folder: Path, name: str, bootstrap: str = "") -> ChildPeer:
    options = peer_options(bootstrap=[bootstrap] if bootstrap else [], listen=[LISTEN])
    fault = ["--fault", SLEEPER] if name == NAMES[-1] else []
    return ChildPeer(DataFolder(folder / name), "--cores", "1", "--on-battery", *options, *fault)


def _wait_until_known(peer: ChildPeer) -> list[PeerView]:
    deadline = time.monotonic() + KNOWN_TIMEOUT_S
    while len(known := peer.client.peers()) < len(NAMES) - 1:
        if time.monotonic() > deadline:
            raise LocalError(
                f"only {len(known)} of {len(NAMES) - 1} peers found one another in {KNOWN_TIMEOUT_S:.0f} s"
            )
        time.sleep(KNOWN_POLL_S)
    return known


def _best(out: Path) -> Best:
    with (out / RESULTS_NAME).open("rb") as file:
        lines = [msgspec.json.decode(line, type=ResultLine) for line in file]
    found = [msgspec.convert(line.result, dict[str, float]) for line in lines if line.ok]
    if not found:
        return Best([], 0.0)
    found.sort(key=lambda one: (-one["accuracy"], one["C"], one["gamma"]))
    return Best(found, search.true_accuracy(found[0]))


def _show(job: JobView, best: Best) -> None:
    show(job_report(job))
    for line in what_was_seen(job):
        say(line)
    if not best.choices:
        return
    table = Table("C", "gamma", "accuracy in cross-validation", box=None, title="Best choices", title_justify="left")
    for one in best.choices[:BEST_SHOWN]:
        table.add_row(f"{one['C']:g}", f"{one['gamma']:.5f}", f"{one['accuracy']:.4%}")
    show(table)
    first = best.choices[0]
    say(f"The best choice, C = {first['C']:g} and gamma = {first['gamma']:.5f}, reads {best.true_accuracy:.2%} of the")
    say(f"digits right that no worker has seen (checked here). Four peers shared {count(os.cpu_count() or 1, 'core')}.")


def what_was_seen(job: JobView) -> list[str]:
    """The sleeper's story in this run, in a few lines."""
    alice, sleeper = NAMES[0], NAMES[-1]
    if not job.liars:
        return [f"{sleeper} was not caught: this time it lied about nothing that counted."]
    before = f"{count(job.revoked, 'chunk')} that had counted already" if job.revoked else "nothing had counted yet"
    return [
        f"{sleeper} was right about {HONEST_CHUNKS} chunks and then lied. A second peer gave something else, or the",
        f"secret sample met a lie: {alice} computed it again, saw who was right and banned the liar. What rested on",
        f"the liar's word, the honest part included, was taken back and done again: {before}.",
    ]


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    if keep:
        folder = Path(tempfile.mkdtemp(prefix="peer-demo-"))
        try:
            yield folder
        finally:
            say(f"logs and results are in {folder}")
        return
    with tempfile.TemporaryDirectory(prefix="peer-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)
