"""Each experiment in its quick form: every published value agrees, or the experiment says why it does not."""

import json
import subprocess
import sys

import pytest

from protocol.errors import LocalError
from simulations.experiments.outcome import Line, Outcome, Verdict, render
from simulations.experiments.registry import TITLES, run


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in TITLES])
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


def test_the_command_prints_json_and_refuses_unknown_names() -> None:
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "simulations.experiments", *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    done = command("t2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lines"][0]["verdict"] == "agrees"
    wrong = command("v11")
    assert wrong.returncode == 2 and wrong.stderr.startswith("there is no experiment 'v11': did you mean v1?")
