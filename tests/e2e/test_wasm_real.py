"""A module over real peers: the same results and the same fuel everywhere, from lines and from files."""

import json
from pathlib import Path

import pytest
from e2e_helpers import make_network, run_command
from wasm_texts import COPY, ECHO, module

pytestmark = pytest.mark.slow
pytest.importorskip("wasmtime", reason="the extra `wasm` is not installed")


def submitted(peer, out: Path, *words: str) -> list[dict]:
    data = ["--out", str(out), "--data", str(peer.folder), "--local", "off", "--verify", "quorum:2"]
    ended = run_command("submit", "wasm", *words[:1], *data, *words[1:])
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_lines_and_files_give_the_same_on_every_peer(start_peer, tmp_path):
    submitter, *_ = make_network(start_peer, "", "")
    (tmp_path / "echo.wat").write_text(ECHO)
    items = ["text", {"b": 1, "a": [True]}, "more text"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in items))
    lines = submitted(submitter, tmp_path / "1", str(tmp_path / "echo.wat"), "--map", str(tmp_path / "in.jsonl"))
    assert [one["result"]["output"] for one in lines] == ["text", '{"a": [true], "b": 1}', "more text"]
    assert len({one["result"]["fuel"] for one in lines}) == 1, "all were read at once"

    from wasmtime import wat2wasm

    (tmp_path / "copy.wasm").write_bytes(bytes(wat2wasm(COPY)))
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / str(number)).mkdir()
        (tmp_path / "data" / str(number) / "clip.mp4").write_bytes(bytes([number]) * 100_000)
    found = str(tmp_path / "data" / "*" / "clip.mp4")
    lines = submitted(submitter, tmp_path / "2", str(tmp_path / "copy.wasm"), "--inputs", found, "--", "-v", "{input}")
    for number, line in enumerate(lines):
        path = tmp_path / "2" / line["result"]["files"][0]["$file"]["path"]
        assert path.parts[-2:] == (str(number), "copy.bin")
        assert path.read_bytes() == bytes([number]) * 100_000
    assert len({one["result"]["fuel"] for one in lines}) == 1


def test_what_ends_a_module_stands_in_the_results(start_peer, tmp_path):
    submitter, *_ = make_network(start_peer, "", "")
    (tmp_path / "loop.wat").write_text(module("(loop $l (br $l))"))
    (tmp_path / "in.jsonl").write_text("1\n2\n")
    words = ["submit", "wasm", str(tmp_path / "loop.wat"), "--map", str(tmp_path / "in.jsonl"), "--fuel", "100000"]
    ended = run_command(*words, "--out", str(tmp_path / "out"), "--local", "off", "--data", str(submitter.folder))
    assert ended.returncode == 1 and "all of its 100000 fuel was used; --fuel N allows more" in ended.stderr
