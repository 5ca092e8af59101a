"""`peer submit wasm`: what it checks before anything starts, and what it asks for."""

import json

import pytest

from cli.exits import WrongUse
from cli.main import main
from cli.submit_options import JobOptions
from cli.submit_wasm import say_fuel, wasm_job

MODULE = b"\0asm\1\0\0\0"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in (
        ("m.wasm", MODULE), ("t.wat", b"(module)"), ("c.wasm", b"\0asm\x0d\0\1\0"), ("p.wasm", b"#!/bin/sh\n"),
        ("in.jsonl", b'{"n": 1}\n"text"\n'), ("a.bin", b"a"), ("empty.wasm", b""),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no.wasm", "--map", "in.jsonl"], "cannot read the module no.wasm: No such file"),
        (["c.wasm", "--map", "in.jsonl"], "c.wasm is a component; build it as a module, for wasm32-wasip1"),
        (["p.wasm", "--map", "in.jsonl"], "p.wasm is not a WebAssembly module"),
        (["empty.wasm", "--map", "in.jsonl"], "empty.wasm is not a WebAssembly module"),
        (["m.wasm"], "either --inputs 'videos/*.mp4' or --map FILE"),
        (["m.wasm", "--map", "in.jsonl", "--inputs", "*.bin"], "either --inputs 'videos/*.mp4' or --map FILE"),
        (["m.wasm", "--map", "in.jsonl", "--", "{n}"], "has {n}, which input 2 does not have; it has {index}, {item}"),
        (["m.wasm", "--inputs", "*.txt"], "--inputs: no file is called '*.txt'"),
        (["m.wasm", "--map", "in.jsonl", "--fuel", "0"], "0 is not in the range 1<=x"),
        (["m.wasm", "--map", "in.jsonl", "--compare", "verify"], "--compare verify is for python jobs"),
        (["m.wasm", "--map", "in.jsonl", "--blob", "MODULE=a.bin"], "--blob: the name MODULE is taken"),
    ],
)
def test_wrong_use_is_said_in_one_line(files, words, message, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["submit", "wasm", *words, "--data", str(files / "data"), "--out", str(files / "out")])
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and message in " ".join(complaint.replace("│", " ").split()), complaint
    assert not (files / "data").exists(), "nothing was begun"


def test_what_is_asked_for(files, monkeypatch) -> None:
    from cli import job_request
    from peer.views import BlobUse

    monkeypatch.setattr(job_request, "into_cache", lambda _, one: BlobUse(name=one[0], id="00" * 32, size_bytes=8))
    prepared = wasm_job(files / "m.wasm", ["-n", "{index}"], [], files / "in.jsonl", 5, JobOptions())
    request = prepared.request(None)
    assert (request.runtime, request.name, request.compare) == ("wasm", "m", "exact")
    assert json.loads(request.code) == {"name": "m.wasm", "argv": ["-n", "{index}"], "fuel": 5}
    first = {"item": {"n": 1}, "index": 0, "output": "0"}
    assert request.items == [first, {"item": "text", "index": 1, "output": "1"}]
    assert [one.name for one in request.blobs] == ["MODULE"]
    assert request.runtime_version == "==50.*", "fuel is compared: others count it in their own way"


def test_a_version_that_is_asked_for_stands_and_text_modules_are_taken(files) -> None:
    prepared = wasm_job(files / "t.wat", [], [], files / "in.jsonl", 5, JobOptions(runtime_version=">=50.1"))
    assert prepared.options.runtime_version == ">=50.1"


def test_files_are_arguments_unless_others_are_given(files) -> None:
    with pytest.raises(WrongUse, match=r"has \{clip\}, which input 1 does not have"):
        wasm_job(files / "m.wasm", ["{clip}"], ["*.bin"], None, 5, JobOptions())


def test_the_fuel_of_all_items_is_told(tmp_path, capsys) -> None:
    lines = ['{"result": {"fuel": 1000}}', '{"ok": false}', '{"result": {"fuel": 1234567}}', '{"result": "odd"}']
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    say_fuel(tmp_path)
    assert "fuel: 1,235,567 in all, 1,234,567 for the item that took most" in capsys.readouterr().err
    (tmp_path / "results.jsonl").write_text("")
    say_fuel(tmp_path)
    assert capsys.readouterr().err == ""
