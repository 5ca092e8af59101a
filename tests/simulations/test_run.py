"""Whole runs: one seed, one story, in any process; what the world does to the peers is seen in the figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.result import TABLES
from simulations.run import run
from simulations.scenario import (
    Adversary,
    Churn,
    Crashes,
    Distribution,
    Latency,
    Limits,
    Network,
    Partition,
    Scenario,
    Workers,
    Workload,
)

ROOT = Path(__file__).resolve().parents[2]

ROUGH = Scenario(
    name="rough",
    workers=Workers(count=8, liars=0.25, speed=Distribution(kind="lognormal", a=1.0, b=0.3)),
    network=Network(latency=Latency(kind="plane"), bandwidth_bytes_per_s=1e6, loss=0.01, unreachable=0.12),
    partitions=[Partition(start_s=35.0, end_s=75.0, share=0.3)],
    churn=Churn(kind="exponential", mean_s=60.0, absence_s=20.0),
    crashes=Crashes(coordinator_mean_s=15.0, worker_mean_s=60.0),
    workload=Workload(items=60, workers_max=8),
    limits=Limits(duration_s=150.0, liveness_s=600.0, trace_events_max=10),
)

IN_ANOTHER_PROCESS = """
import json, sys
import msgspec
from simulations.run import run
from simulations.scenario import Scenario
result = run(msgspec.json.decode(sys.argv[1], type=Scenario), int(sys.argv[2]))
print(json.dumps([result.trace_hash, result.events, result.virtual_s, result.trace]))
"""


def told(seed: int, hash_seed: str) -> list[object]:
    """The story of a rough run in a process of its own."""
    import msgspec

    words = [sys.executable, "-c", IN_ANOTHER_PROCESS, msgspec.json.encode(ROUGH).decode(), str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    story: list[object] = json.loads(ran.stdout)
    return story


def test_one_seed_tells_one_story_in_every_process() -> None:
    first = told(7, "1")
    assert told(7, "2") == first
    assert told(8, "1")[0] != first[0]


def test_a_calm_run_does_the_job_and_writes_everything_down() -> None:
    result = run(Scenario(name="calm", workers=Workers(count=6), workload=Workload(items=40)), 3)
    figures = result.figures
    assert not result.violations
    assert (figures["items_done"], figures["wrong_accepted"], figures["jobs_done"]) == (40, 0, 1)
    assert figures["credits_got"] == pytest.approx(figures["credits_given"]) and figures["credits_got"] > 0
    assert set(result.tables) == set(TABLES) and all(result.tables.values())
    assert sum(row["stop"] - row["start"] for row in result.tables["chunks"]) == 40
    assert sum(row["count"] for row in result.tables["messages"]) == figures["messages"] > 0
    assert "continued" not in {row["type"] for row in result.tables["messages"]}
    assert sum(row["bytes_sent"] for row in result.tables["peers"]) == figures["bytes_sent"]


def test_a_network_without_jobs_runs_for_its_time() -> None:
    scenario = Scenario(name="dht", workers=Workers(count=5), workload=Workload(jobs=0), limits=Limits(duration_s=50.0))
    result = run(scenario, 1)
    assert not result.violations and 50.0 <= result.virtual_s < 60.0
    assert all(row["contacts"] == 5 for row in result.tables["peers"])


def test_progress_is_told_and_changes_nothing() -> None:
    scenario = Scenario(name="p", workers=Workers(count=3), workload=Workload(items=5))
    times: list[tuple[float, float]] = []
    told = run(scenario, 1, lambda virtual_s, wall_s: times.append((virtual_s, wall_s)))
    assert times == sorted(times) and len(times) > 30
    assert told.trace_hash == run(scenario, 1).trace_hash


def test_liars_without_checks_are_seen_in_what_was_accepted() -> None:
    scenario = Scenario(
        name="lies",
        workers=Workers(count=6, liars=0.5),
        workload=Workload(items=60, verify="none", local=0),
        limits=Limits(wrong_share_max=0.01),
    )
    result = run(scenario, 1)
    assert result.figures["wrong_accepted"] > 10
    assert {one.checker for one in result.violations} == {"few_wrong_results"}
    wrong_by = {row["peer"] for row in result.tables["chunks"] if row["wrong"]}
    assert wrong_by == {row["number"] for row in result.tables["peers"] if row["kind"] == "liar"}


def test_a_whitewasher_comes_back_as_somebody_else() -> None:
    scenario = Scenario(
        name="white",
        workers=Workers(count=6, liars=0.2),
        adversary=Adversary(kind="whitewasher"),
        workload=Workload(items=200),
    )
    result = run(scenario, 1)
    assert result.figures["wrong_accepted"] == 0 and result.figures["liars_caught"] >= 2
    (row,) = [row for row in result.tables["peers"] if row["kind"] == "liar"]
    assert row["sessions"] > 1


def test_receipts_by_unknown_coordinators_help_no_liar() -> None:
    scenario = Scenario(
        name="dealing",
        workers=Workers(count=10, liars=0.2),
        adversary=Adversary(kind="self_dealing", rate=0.5),
        workload=Workload(items=200, verify="adaptive"),
    )
    result = run(scenario, 3)
    assert result.figures["liars_caught"] >= 2 and not result.violations
    assert result.figures["wrong_accepted"] <= 200 * 0.04, "what two votes among so many liars are worth"


def test_peers_crash_and_come_back_and_the_job_is_done() -> None:
    scenario = Scenario(
        name="churn",
        workers=Workers(count=8),
        churn=Churn(kind="exponential", mean_s=40.0, absence_s=10.0, crash=1.0),
        workload=Workload(items=150),
        limits=Limits(duration_s=300.0),
    )
    result = run(scenario, 2)
    assert result.figures["crashes"] > 3 and result.figures["sessions"] > 9 + result.figures["crashes"] / 2
    assert result.figures["items_done"] == 150


def test_unreachable_workers_take_part_over_the_connections_that_they_made() -> None:
    scenario = Scenario(
        name="nat", workers=Workers(count=6), network=Network(unreachable=0.5), workload=Workload(items=30)
    )
    result = run(scenario, 1)
    assert result.figures["items_done"] == 30
    hidden = [row for row in result.tables["peers"] if not row["reachable"]]
    assert len(hidden) == 3 and sum(row["chunks_run"] for row in hidden) > 0


def test_what_the_shipped_code_logs_as_an_error_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    from dht.server import DhtServer

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(DhtServer, "_closest", fail)
    result = run(Scenario(name="bug", workers=Workers(count=2), workload=Workload(items=2)), 1)
    assert any("a bug" in one.detail for one in result.violations)
