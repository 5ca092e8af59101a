"""`peer simulate` with the real engine, in processes of their own: what a researcher does in the first five minutes."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "workload.items=20", "--set", "workers.count=4", "--set", "limits.trace_events_max=100000")


def simulate(folder: Path, *words: str, hash_seed: str = "0") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "cli", "simulate", *words]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def test_a_run_is_kept_and_replays_to_the_same_hash_in_another_process(tmp_path):
    code, out, err = simulate(tmp_path, "run", "calm", "--seed", "7", *SMALL, "--out", "kept", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["violations"] == [] and found["figures"]["items_done"] == 20
    assert len((tmp_path / "kept" / "trace.txt").read_text().splitlines()) == found["events"]
    with (tmp_path / "kept" / "tables" / "messages.csv").open(newline="") as file:
        sent = sum(int(row["count"]) for row in csv.DictReader(file))
    assert sent == found["figures"]["messages"]
    code, out, err = simulate(tmp_path, "replay", "kept", hash_seed="1")
    assert (code, out.split()[:5]) == (0, ["the", "same:", "trace", "hash", found["trace_hash"]]), err


def test_another_seed_in_the_folder_is_seen_by_a_replay(tmp_path):
    assert simulate(tmp_path, "run", "calm", "--seed", "7", *SMALL, "--out", "kept")[0] == 0
    path = tmp_path / "kept" / "result.json"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    code, out, _ = simulate(tmp_path, "replay", "kept")
    assert code == 1 and "the runs differ:" in out and "is the first that differs" in out


def test_a_sweep_runs_side_by_side_and_gives_what_single_runs_give(tmp_path):
    code, out, err = simulate(
        tmp_path, "sweep", "calm", *SMALL, "--set", "workers.slots=1,2", "--seeds", "7,8", "--jobs", "2", "--json"
    )
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [(row["set.workers.slots"], row["seed"]) for row in rows] == [(1, 7), (1, 8), (2, 7), (2, 8)]
    assert len({row["trace_hash"] for row in rows}) == 4
    code, out, _ = simulate(tmp_path, "run", "calm", *SMALL, "--set", "workers.slots=2", "--seed", "8", "--json")
    assert json.loads(out)["trace_hash"] == rows[3]["trace_hash"]


def test_a_scenario_that_cannot_run_is_wrong_use(tmp_path):
    code, out, err = simulate(tmp_path, "run", "sleeper", *SMALL, "--set", "adversary.kind=sleper")
    assert (code, out) == (2, "")
    assert "sleeper" in err.splitlines()[-1] and "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_says_nothing_more(tmp_path, number):
    words = ["run", "calm", "--set", "workload.items=100000", "--set", "limits.duration_s=1000000"]
    command = [sys.executable, "-m", "cli", "simulate", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline(), process.stderr.readline()]
        assert "of virtual time in" in said[1]
        process.send_signal(number)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
