"""The shipped scenarios are right, are named as their files, and are found."""

from pathlib import Path
from random import Random

import pytest

from protocol.errors import LocalError
from simulations.adversaries import make_gang
from simulations.models.churn import make_churn
from simulations.models.latency import make_latency
from simulations.scenarios import find, names, shipped


@pytest.mark.parametrize("name", names())
def test_each_is_right_and_says_what_it_is(name: str) -> None:
    scenario = shipped(name)
    assert scenario.name == name and scenario.description and scenario.limits.wrong_share_max < 1.0
    make_gang(scenario.adversary, Random(1))
    make_churn(scenario.churn)
    make_latency(scenario.network.latency, Random(1))
    ends_s = [partition.end_s for partition in scenario.partitions]
    assert all(end_s <= scenario.limits.duration_s for end_s in ends_s)


def test_what_is_given_is_a_name_or_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"')
    assert find(str(path)).name == "mine" and find("calm") == shipped("calm")
    with pytest.raises(LocalError, match=r"clam: no shipped scenario of this name; did you mean calm\?"):
        find("clam")
