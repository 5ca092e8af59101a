"""A job with packages of its own over real peers, each of which installs them for itself."""

import json
import sys
from pathlib import Path

import pytest
from e2e_helpers import make_network, run_command

sys.path.insert(0, str(Path(__file__).parent.parent / "peer"))
from wheel_helpers import BLOCK, wheel

from peer.runtimes.environments import find_uv

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_uv() is None, reason="uv is not here; `./run setup` installs it"),
]


def test_a_job_brings_its_packages(start_peer, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "greeting", "2.0", requires="manners>=3")
    wheel(wheels, "manners", "3.1")
    for name, value in (("FIND_LINKS", wheels), ("NO_INDEX", 1), ("CACHE_DIR", tmp_path / "cache")):
        monkeypatch.setenv(f"UV_{name}", str(value))
    submitter, *_ = make_network(start_peer, "", "")
    (tmp_path / "job.py").write_text(BLOCK)
    (tmp_path / "in.jsonl").write_text("1\n2\n3\n")
    words = ["submit", "python", str(tmp_path / "job.py"), "--map", str(tmp_path / "in.jsonl")]
    ended = run_command(
        *words,
        "--out",
        str(tmp_path / "out"),
        "--verify",
        "quorum:2",
        "--local",
        "off",
        "--data",
        str(submitter.folder),
    )
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["result"] for line in lines] == ["2.0"] * 3
