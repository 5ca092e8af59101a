"""Cells of the comparison: how samples become one figure with a bound, and that each adversary does harm somewhere."""

from random import Random

import pytest

from protocol.adaptive import Adaptive
from protocol.planner import Target
from protocol.verification import NoVerification, Quorum
from simulations.experiments.boinc import Intermittent, Ringed, run_boinc
from simulations.experiments.one_job import JobTally
from simulations.experiments.rivals import ADVERSARIES, Adversary, Network, Sizes, boinc_cell, cell
from simulations.experiments.verification import LIVED, Result, _promises

SMALL = Sizes(workers=10, seeds=1, fresh=30, history=40, jobs=(10, 10), plain=40)
BY_NAME = {one.name: one for one in ADVERSARIES}


def tally(items: int, wrong: int, *, promised: bool = True) -> JobTally:
    return JobTally(items, 2 * items, 0, wrong, 0, 0, bound=0.3, promised=promised)


def test_each_seed_is_one_sample() -> None:
    found = cell([[tally(100, 2), tally(300, 2)], [tally(400, 0)]])
    assert found.chunks == 800 and found.error == 0.005 and found.overhead == 2.0 and found.promised
    assert found.standard_error == pytest.approx(0.005)
    assert found.upper == pytest.approx(0.015)
    assert cell([[tally(100, 0), tally(100, 0, promised=False)]]).upper == 0.015
    assert not cell([[tally(100, 0), tally(100, 0, promised=False)]]).promised


def test_a_broken_promise_is_a_difference_that_nothing_explains() -> None:
    def verdicts(wrong: int, *, promised: bool) -> list[str]:
        found = cell([[tally(1000, wrong, promised=promised)], [tally(1000, wrong, promised=promised)]])
        line = next(iter(_promises([Result(LIVED, 0.2, "x", "adaptive 0.01", found)])))
        return [str(line.verdict), line.why]

    assert verdicts(11, promised=True) == ["differs", ""]
    assert verdicts(10, promised=True) == ["agrees", ""]
    assert verdicts(11, promised=False)[0] == "ours"


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"canary"}))
def test_without_checks_each_liar_gets_its_share_through(name: str) -> None:
    adversary = BY_NAME[name]
    if name == "sleeper":
        assert Network(NoVerification(), 0.2, Sizes(10, 1, 30, 40, (10,), 80)).fresh(adversary).error > 0
    else:
        assert Network(NoVerification(), 0.2, SMALL).fresh(adversary).error > 0


def test_canaries_fool_votes_by_pairs_of_theirs_and_not_what_asks_later() -> None:
    canary = BY_NAME["canary"]
    assert Network(Quorum(2), 0.3, SMALL).fresh(canary).error > 0.02
    assert Network(Adaptive(Target(max_error=0.05)), 0.3, SMALL).fresh(canary).error < 0.02
    assert run_boinc([Ringed()] * 3 + [Intermittent()] * 7, 20, Random(1)).wrong > 0


def test_liars_that_disagree_do_not_pass_boinc_while_it_replicates() -> None:
    own = run_boinc([Intermittent(1.0, own_word=True)] * 3 + [Intermittent()] * 7, 500, Random(1))
    agreed = run_boinc([Intermittent(1.0)] * 3 + [Intermittent()] * 7, 500, Random(1))
    assert own.wrong == 0 < agreed.wrong


def test_boinc_trusts_hosts_with_a_history() -> None:
    liar = Adversary("x", BY_NAME["colluders"].ours, Intermittent(1.0))
    fresh, lived = (boinc_cell(liar, 0.1, SMALL, lived=one) for one in (False, True))
    assert lived.error > 0 and fresh.chunks == 4 * 300 and lived.chunks == 4 * 200
    honest = Adversary("y", BY_NAME["colluders"].ours, Intermittent())
    assert boinc_cell(honest, 0.1, SMALL, lived=True).overhead < boinc_cell(honest, 0.1, SMALL, lived=False).overhead


def test_a_history_is_made_once_and_serves_every_adversary() -> None:
    network = Network(Adaptive(Target(max_error=0.05)), 0.2, SMALL)
    cells = [network.lived(BY_NAME[name]) for name in ("canary", "colluders", "canary")]
    assert cells[0] == cells[2] and cells[0].overhead < 1.5
