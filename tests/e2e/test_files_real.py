"""Files in items and results over real peers: in from this machine, out into the folder of the results."""

import json

import pytest
from e2e_helpers import make_network, run_command

pytestmark = pytest.mark.slow

CODE = """
from pathlib import Path
def run(item):
    out = Path("/tmp") / item["name"]
    out.write_bytes(item["source"].read_bytes() * 2)
    return {"size": out.stat().st_size, "out": out}
"""
SIZE = 400_000


def test_files_go_to_workers_and_come_back(start_peer, tmp_path):
    submitter, *_ = make_network(start_peer, "", "", "")
    (tmp_path / "data").mkdir()
    lines = []
    for number in range(6):
        (tmp_path / "data" / f"{number}.bin").write_bytes(bytes([number]) * SIZE)
        lines.append(json.dumps({"name": "same.bin", "source": {"$file": f"data/{number}.bin"}}))
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    (tmp_path / "job.py").write_text(CODE)
    out = tmp_path / "out"
    words = ["submit", "python", str(tmp_path / "job.py"), "--map", str(tmp_path / "in.jsonl"), "--out", str(out)]
    ended = run_command(*words, "--local", "off", "--verify", "quorum:2", "--data", str(submitter.folder))
    assert ended.returncode == 0, ended.stderr
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    for number, line in enumerate(results):
        assert line["result"]["size"] == 2 * SIZE
        file = line["result"]["out"]["$file"]
        assert file["path"] == f"files/{number}/same.bin" and file["size_bytes"] == 2 * SIZE
        assert (out / file["path"]).read_bytes() == bytes([number]) * 2 * SIZE
    blobs = json.loads(run_command("cache", "list", "--json", "--data", str(submitter.folder)).stdout)["blobs"]
    assert sum(one["pinned"] for one in blobs) == 12
    again = tmp_path / "again"
    fetched = run_command("job", "results", "last", "--out", str(again), "--data", str(submitter.folder))
    assert fetched.returncode == 0, fetched.stderr
    assert (again / "files" / "3" / "same.bin").read_bytes() == bytes([3]) * 2 * SIZE


def test_a_missing_file_is_said_before_anything_starts(tmp_path):
    (tmp_path / "job.py").write_text(CODE)
    (tmp_path / "in.jsonl").write_text('{"name": "a", "source": {"$file": "nowhere.bin"}}\n')
    words = ["submit", "python", str(tmp_path / "job.py"), "--map", str(tmp_path / "in.jsonl")]
    ended = run_command(*words, "--out", str(tmp_path / "out"), "--data", str(tmp_path / "peer"))
    assert ended.returncode == 2 and "nowhere.bin is not there" in ended.stderr, ended.stderr
