"""`peer demo`: four peers as processes of this machine, one of which begins to lie, and a search on real data."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.table import Table

from cli.child import ChildPeer
from cli.console import err, print_json, say, show
from cli.demo import search
from cli.demo.peers import NAMES, demo_folder, four_peers, wait_until_known
from cli.exits import INTERRUPTED, WrongUse
from cli.interrupts import terminated_like_interrupted
from cli.results import RESULTS_NAME, exit_code, write_results
from cli.show import job_report, peers_table
from cli.submit import run_to_the_end
from cli.text import count
from peer.views import JobRequest, JobView, ResultLine

HONEST_CHUNKS = 6
"""Soon enough for it to wake in every demonstration, and enough for some of its results to count by then."""
SLEEPER = f"sleeper:{HONEST_CHUNKS}"
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
    with terminated_like_interrupted(), demo_folder(keep=keep) as folder:
        try:
            with four_peers(folder, SLEEPER) as peers:
                return _run(peers, folder, as_json=as_json)
        except KeyboardInterrupt:
            say("interrupted; the peers are stopped")
            return INTERRUPTED


def _run(peers: list[ChildPeer], folder: Path, *, as_json: bool) -> int:
    known = wait_until_known(peers[0])
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
