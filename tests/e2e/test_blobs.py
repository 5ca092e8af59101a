"""Blobs from end to end, over real peers and the real network: put here, got there, interrupted, gone on."""

import hashlib
import json
import signal
import subprocess
from pathlib import Path
from random import Random

import pytest
from e2e_helpers import COMMAND, environment, make_network, run_command

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


def put(folder: Path, file: Path) -> str:
    ended = run_command("put", str(file), "--data", str(folder))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def blobs_of(folder: Path) -> list[dict]:
    return json.loads(run_command("cache", "list", "--json", "--data", str(folder)).stdout)["blobs"]


def test_a_blob_goes_from_peer_to_peer_and_outlives_who_put_it(start_peer, tmp_path):
    first, second, third = make_network(start_peer, "", "")
    data = Random(1).randbytes(20 * MIB + 3)
    source = tmp_path / "weights.bin"
    source.write_bytes(data)
    blob = put(first.folder, source)
    assert len(blob) == 64
    out = tmp_path / "copy.bin"
    got = run_command("get", blob, "--out", str(out), "--data", str(second.folder), "--json")
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout) == {"id": blob, "size_bytes": len(data), "path": str(out)}
    assert out.read_bytes() == data
    again = run_command("get", blob, "--out", str(out), "--data", str(second.folder))
    assert again.returncode == 2 and "--force" in again.stderr

    assert first.end() == 0
    cached = run_command("get", blob, "--data", str(third.folder))
    assert cached.returncode == 0, cached.stderr
    assert Path(cached.stdout.strip()).read_bytes() == data

    table = run_command("cache", "list", "--data", str(third.folder))
    assert blob in table.stdout and "20.0 MiB" in table.stdout
    assert "deleted 1 blob" in run_command("cache", "prune", "--data", str(third.folder)).stderr
    assert blobs_of(third.folder) == []


def test_an_interrupted_get_keeps_what_has_come(start_peer, tmp_path):
    first, second = make_network(start_peer, "")
    source = tmp_path / "large.bin"
    source.write_bytes(Random(2).randbytes(64 * MIB) * 4)
    blob = put(first.folder, source)
    process = subprocess.Popen(
        [*COMMAND, "get", blob, "--data", str(second.folder)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not any(one["held_bytes"] > 0 for one in blobs_of(second.folder)):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    (kept,) = blobs_of(second.folder)
    assert process.returncode == 130 and "goes on" in errors and "Traceback" not in errors
    assert not kept["whole"] and not kept["in_use"]
    got = run_command("get", blob, "--data", str(second.folder))
    assert got.returncode == 0, got.stderr
    assert Path(got.stdout.strip()).read_bytes() == source.read_bytes()


@pytest.mark.long
def test_what_cannot_be_is_said_in_one_line(start_peer, tmp_path):
    (only,) = make_network(start_peer)
    data = ["--data", str(only.folder)]
    for words, code, story in (
        (["put", str(tmp_path / "missing")], 2, "not there"),
        (["put", str(tmp_path)], 2, "a folder"),
        (["get", "abc"], 2, "no blob id"),
        (["get", "0" * 64, "--out", str(tmp_path)], 2, "name a file"),
        (["get", "0" * 64], 1, "nobody is known to have it"),
    ):
        ended = run_command(*words, *data)
        assert ended.returncode == code and story in ended.stderr, ended
        assert ended.stderr.count("\n") == 1 and "Traceback" not in ended.stderr
    assert only.end() == 0
    for words in (["put", __file__], ["get", "0" * 64], ["cache", "list"], ["cache", "prune"]):
        ended = run_command(*words, *data)
        assert ended.returncode == 1 and "peer start" in ended.stderr and ended.stderr.count("\n") == 1


READS = """
import hashlib, os

def run(item):
    data = open(os.environ["PEER_BLOB_WEIGHTS"], "rb").read()
    try:
        open("/blobs/WEIGHTS", "ab")
    except OSError:
        return [item, hashlib.sha256(data).hexdigest(), open("/blobs/other").read()]
    return "the blob could be written"
"""


def test_a_job_reads_its_blobs_wherever_it_runs(start_peer, job, tmp_path):
    first, second, _ = make_network(start_peer, "", "")
    weights, other = tmp_path / "weights.bin", tmp_path / "other.txt"
    weights.write_bytes(Random(3).randbytes(5 * MIB + 1))
    other.write_text("hello")
    blob = put(second.folder, other)
    words = [*job.write(READS, list(range(40))), "--data", str(first.folder)]
    ended = run_command(*words, "--blob", f"WEIGHTS={weights}", "--blob", f"other={blob}", "--verify", "quorum:2",
                        "--local", "off")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert [line["result"] for line in job.results()] == [[item, digest, "hello"] for item in range(40)]
    workers = {worker["peer"] for worker in job.report()["workers"] if worker["peer"] != first.id}
    assert len(workers) == 2
    here = run_command(
        *words, "--force", "--blob", f"WEIGHTS={weights}", "--blob", f"other={blob}", "--workers-max", "1"
    )
    assert here.returncode == 0, here.stderr


def test_options_for_blobs_that_make_no_sense_end_before_anything_starts(job, tmp_path):
    words = [*job.write(READS, [1]), "--data", str(tmp_path / "none")]
    for options, story in (
        (["--blob", "x"], "NAME=FILE"),
        (["--blob", "a/b=x"], "NAME=FILE"),
        (["--blob", "x=missing"], "neither a file nor a blob id"),
        (["--blob", f"x={tmp_path}"], "a folder"),
        (["--blob", f"x={__file__}", "--blob", f"x={__file__}"], "two blobs"),
    ):
        ended = run_command(*words, *options)
        assert ended.returncode == 2 and story in ended.stderr and ended.stderr.count("\n") == 1, ended.stderr
