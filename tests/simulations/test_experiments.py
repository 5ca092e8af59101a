"""Each experiment in its quick form: every published value agrees, or the experiment says why it does not."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.keys import distance
from dht.lookup import Lookup
from protocol.adaptive import parse_policy
from protocol.errors import LocalError
from protocol.ids import node_id_of
from protocol.messages.dht import Contact
from protocol.verification import Quorum
from simulations.experiments import eclipse, unreachable
from simulations.experiments.behaviours import HONEST, Behaviour, Rate, Sleeps
from simulations.experiments.boinc import Intermittent, Sleeper, run_boinc
from simulations.experiments.one_job import OneJob
from simulations.experiments.outcome import Line, Outcome, Verdict, render
from simulations.experiments.registry import TITLES, run
from simulations.experiments.static_network import StaticNetwork, walk

LONGEST = "verification"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == LONGEST else name for name in TITLES]
)
def test_reproduces_what_was_published(name: str) -> None:
    outcome = run(name, quick=True)
    assert outcome.name == name and any(line.expected is not None for line in outcome.lines)
    assert not outcome.unexplained, "\n" + render(outcome)


def test_is_the_same_each_time() -> None:
    assert run("t1") == run("t1")


def test_a_name_that_is_not_known_gets_the_nearest() -> None:
    with pytest.raises(LocalError, match="did you mean v7"):
        run("v77")


def test_a_difference_must_be_explained() -> None:
    silent, honest = Line("a", 1.0, 2.0, 0.5), Line("b", 1.0, 2.0, 0.5, why="another network")
    assert Outcome("x", "", (silent, honest, Line("c", 5.0))).unexplained == (silent,)
    assert [line.verdict for line in (Line("a", 1.6, 2.0, 0.5), silent, Line("c", 5.0))] == [
        Verdict.AGREES,
        Verdict.DIFFERS,
        Verdict.OURS,
    ]


def test_a_ceiling_is_passed_from_above_alone() -> None:
    lines = (
        Line("a", 0.0, 1.0, ceiling=True),
        Line("b", 1.4, 1.0, 0.5, ceiling=True),
        Line("c", 1.6, 1.0, 0.5, "", True),
    )
    assert [line.verdict for line in lines] == [Verdict.AGREES, Verdict.AGREES, Verdict.DIFFERS]


def test_the_command_prints_json_and_refuses_unknown_names() -> None:
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "simulations.experiments", *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    done = command("t2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lines"][0]["verdict"] == "agrees"
    wrong = command("v11")
    assert wrong.returncode == 2 and wrong.stderr.startswith("there is no experiment 'v11': did you mean v1?")


def test_the_walk_finds_the_closest_of_all() -> None:
    network = StaticNetwork(200, 20, Random(1))
    target, asker = network.random_target(), network.random_peer()
    seeds = network.known_to(asker, target, 20)
    lookup = Lookup(target, seeds, own=asker.peer)
    done = walk(lookup, seeds, partial(network.known_to, target=target, count=20), lambda _: 0.1)
    truth = [one for one in network.true_closest(target, 21) if one != asker][:20]
    assert list(done.closest) == truth
    assert truth == sorted((one for one in network.contacts if one != asker), key=nearness(target))[:20]
    assert done.hops[truth[0].peer] >= 1 and done.failures == 0 and done.elapsed_s > 0


def nearness(target: bytes) -> Callable[[Contact], int]:
    return lambda one: distance(target, node_id_of(one.peer))


def test_silent_contacts_make_the_textbook_lookup_wait_and_ours_hardly() -> None:
    network = StaticNetwork(200, 20, Random(1))
    slow = fmean(unreachable.measure(network, 0.45, 10, shipped=False))
    ours = fmean(unreachable.measure(network, 0.45, 10, shipped=True))
    assert slow > 10.0 > 3.0 > ours


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["audit:0.2", "quorum:2", "quorum:3"]), st.floats(0.0, 1.0))
def test_one_job_ends_and_counts_what_was_run(seed: int, policy: str, rate: float) -> None:
    """Four honest workers and one liar, who comes back whenever it is caught."""
    behaviours: list[Behaviour] = [HONEST] * 4 + [Rate(rate)]
    tally = OneJob(parse_policy(policy), behaviours, 60, Random(seed)).run(whitewash=True)
    assert tally.items == 60 <= tally.executions
    assert tally.wrong == 0 or policy.startswith("audit")
    assert (tally.caught > 0) == (tally.own_executions > 0) or policy.startswith("audit")


def test_a_sleeper_fools_boinc_for_half_of_its_jobs_and_a_quorum_with_us_for_none() -> None:
    boinc = run_boinc([Sleeper(), *[Intermittent()] * 49], 50_000, Random(2))
    assert 0.4 < boinc.error_of([0]) < 0.55
    ours = OneJob(Quorum(2), [Sleeps(10), *[HONEST] * 9], 500, Random(2)).run(whitewash=True)
    assert ours.wrong == 0 and ours.caught > 0


def test_sybils_change_the_density_around_a_key() -> None:
    key = bytes(20)
    network = StaticNetwork(500, 20, Random(1))
    assert eclipse.density_divergence(key, network.true_closest(key, 20), 500) < eclipse.ALARM_KL
    crowd = StaticNetwork(30_000, 20, Random(1)).true_closest(key, 20)
    assert eclipse.density_divergence(key, crowd, 500) > eclipse.ALARM_KL
