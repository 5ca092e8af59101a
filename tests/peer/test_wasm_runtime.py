"""The wasm runtime in the sandbox: what goes in and comes out, the same every time, and what modules may not do."""

import struct

import pytest
from wasm_runs import running
from wasm_texts import ARGUMENTS, CHANCE_AND_TIME, COPY, ECHO, SLEEP_AN_HOUR, WILD_ADDRESSES, module

from peer.runtimes.inside.wasi import EPOCH_NS

pytest.importorskip("wasmtime", reason="the extra `wasm` is not installed")


async def test_text_goes_in_as_it_is_and_comes_out(tmp_path) -> None:
    async with running(tmp_path, ECHO) as ran:
        assert (await ran.value({"item": "two\nlines"}))["output"] == "two\nlines"
        assert (await ran.value({"item": {"b": [1, "ü"], "a": None}}))["output"] == '{"a": null, "b": [1, "ü"]}'
        assert (await ran.value(7))["output"] == "7"
        assert (await ran.value({}))["output"] == ""


async def test_fuel_is_exact_over_runs_and_runners(tmp_path) -> None:
    item = {"item": "x" * 200_000}
    found = set()
    for _ in range(2):
        async with running(tmp_path, ECHO) as ran:
            found |= {(await ran.value(item))["fuel"] for _ in range(3)}
            more = (await ran.value({"item": "x" * 400_000}))["fuel"]
    assert len(found) == 1 and max(found) < more


async def test_arguments_are_filled_in(tmp_path) -> None:
    async with running(tmp_path, ARGUMENTS, "-n", "{item}", "{{}}") as ran:
        assert (await ran.value({"item": 3}))["output"] == "m.wasm\0-n\x003\0{}\0"


async def test_chance_and_time_are_the_same_for_everyone(tmp_path) -> None:
    found = []
    for job in ("one", "one", "other"):
        async with running(tmp_path, CHANCE_AND_TIME, job=job) as ran:
            found.append([(await ran.value({"item": n}))["output"] for n in (1, 1, 2)])
    assert found[0] == found[1]
    first, again, other = found[0]
    assert first == again and first[:16] != other[:16] and first[:16] != found[2][0][:16]
    wall_ns, monotonic_ns, resolution_ns = struct.unpack("<QQQ", first[16:])
    assert EPOCH_NS < wall_ns < EPOCH_NS + 10**6 and 0 < monotonic_ns < 10**6 and resolution_ns == 1


async def test_sleep_takes_no_time_but_on_the_clock(tmp_path) -> None:
    async with running(tmp_path, SLEEP_AN_HOUR) as ran:
        printed = (await ran.value({}))["output"]
    code, userdata, error, kind, count, passed_ns = struct.unpack("<IQHB21xI4xQ", printed)
    assert (code, userdata, error, kind, count) == (0, 77, 0, 0, 1)
    assert 3600 * 10**9 < passed_ns < 3601 * 10**9


async def test_addresses_outside_of_memory_are_errors_of_the_module(tmp_path) -> None:
    async with running(tmp_path, WILD_ADDRESSES) as ran:
        printed = (await ran.value({}))["output"]
        assert struct.unpack("<7I", printed.encode()) == (21, 21, 21, 21, 28, 21, 28)


async def test_files_go_in_and_out(tmp_path) -> None:
    data = bytes(range(256)) * 1000
    async with running(tmp_path, COPY, "{input}", "{output}") as ran:
        file = ran.shelf.file("clip.mp4", data).plain()
        first = await ran.value({"input": file})
        assert first["files"][0]["$file"]["name"] == "copy.bin" and ran.shelf.kept == {"copy.bin": data}
        assert first == await ran.value({"input": file})


async def test_a_binary_module_and_bytes_as_output(tmp_path) -> None:
    from wasmtime import wat2wasm

    text = module("(i32.store8 (i32.const 1024) (i32.const 255)) (call $print (i32.const 1024) (i32.const 1))")
    async with running(tmp_path, bytes(wat2wasm(text))) as ran:
        assert (await ran.value({}))["output"] == b"\xff"
