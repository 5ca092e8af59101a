"""Modules that want more than they get: each is stopped, and says why in one line."""

import struct

import pytest
from wasm_runs import running
from wasm_texts import ECHO, module, nesting, opening

from peer.seam import Execution, ExecutionFailure
from protocol.limits import MIB
from protocol.messages.job import FailureKind
from protocol.outcomes import decode_outcomes

pytest.importorskip("wasmtime", reason="the extra `wasm` is not installed")

FOREVER = "(loop $l (br $l))"


async def test_the_fuel_of_one_item_is_not_anothers(tmp_path) -> None:
    text = module(
        """(if (i32.eq (call $read (i32.const 0) (i32.const 1024) (i32.const 9)) (i32.const 1))
            (then (loop $l (br $l))))
        (call $print (i32.const 1024) (i32.const 2))"""
    )
    async with running(tmp_path, text, fuel=1_000_000) as ran:
        result = await ran.chunk({"item": "no"}, {"item": "x"}, {"item": "ok"})
        assert isinstance(result, Execution)
        first, looped, last = decode_outcomes(result.data, 3)
        assert first.value["output"] == "no" and last.value == {**first.value, "output": "ok"}
        assert (looped.ok, looped.error) == (False, "OutOfFuel")


async def test_without_an_end_of_fuel_the_time_limit_ends_it(tmp_path) -> None:
    async with running(tmp_path, module(FOREVER), fuel=2**63 - 1, item_timeout_s=1.0) as ran:
        ended = await ran.chunk({})
        assert isinstance(ended, ExecutionFailure) and ended.kind is FailureKind.TIMEOUT


GROW = """
    (block $full (loop $more
        (br_if $full (i32.eq (memory.grow (i32.const 16)) (i32.const -1)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 1))
        (br $more)))"""


@pytest.mark.parametrize(("allowed_mib", "expected_pages"), [(256, 2048 - 14), (2048, 30720 - 14)])
async def test_memory_grows_to_its_limit_and_no_further(tmp_path, allowed_mib: int, expected_pages: int) -> None:
    text = module(GROW + "(call $say (memory.size))")
    async with running(tmp_path, text, memory_bytes_max=allowed_mib * MIB) as ran:
        values = [await ran.value({}) for _ in range(3)]
    assert struct.unpack("<I", _bytes(values[0]["output"]))[0] == expected_pages
    assert values[0] == values[1] == values[2]


async def test_touching_all_of_its_memory_is_within_the_jobs_limit(tmp_path) -> None:
    size = "(i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536))"
    fill = f"(memory.fill (i32.const 65536) (i32.const 1) {size})"
    async with running(tmp_path, module(GROW + fill), memory_bytes_max=256 * MIB) as ran:
        for _ in range(3):
            assert (await ran.value({}))["output"] == ""


@pytest.mark.parametrize("then", ["(br $l)", "(br_if $l (i32.eqz (i32.load (i32.const 28)))) unreachable", ""])
async def test_output_ends_at_its_limit_and_the_item_fails(tmp_path, then: str) -> None:
    text = module(f"""(loop $l
        (i32.store (i32.const 28) (call $write (i32.const 1) (i32.const 0) (i32.const 65536)))
        (br_if $l (i32.lt_s (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 65)))
        {then})""")
    async with running(tmp_path, text, fuel=100_000) as ran:
        outcome = await ran.outcome({})
        if then == "(br $l)":
            assert outcome.error == "OutOfFuel"
        else:
            assert outcome.error == "TooMuchOutput" and "printed more than 4194304 bytes" in outcome.message


async def test_what_it_says_on_standard_error_is_the_jobs_output_and_explains_its_status(tmp_path) -> None:
    text = module(
        "(drop (call $write (i32.const 2) (i32.const 1024) (i32.const 10))) (call $proc_exit (i32.const 1))",
        more='(data (i32.const 1024) "no bananas")',
    )
    async with running(tmp_path, text) as ran:
        result = await ran.chunk({})
        assert isinstance(result, Execution) and b"no bananas" in result.log
        assert decode_outcomes(result.data, 1)[0].message == "the module ended with status 1: no bananas"


NOT_PERMITTED = 63


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "../1/secret", "../m.wasm", "../../blobs/MODULE"])
async def test_nothing_outside_of_its_folders_can_be_read(tmp_path, path: str) -> None:
    async with running(tmp_path, opening(path), "{input}") as ran:
        files = [ran.shelf.file(name, b"of another item").plain() for name in ("mine", "secret")]
        result = await ran.chunk(*({"input": file} for file in files))
        assert isinstance(result, Execution)
        for outcome in decode_outcomes(result.data, 2):
            assert outcome.value["output"].encode() == struct.pack("<I", NOT_PERMITTED), outcome


async def test_its_own_file_can_be_read(tmp_path) -> None:
    async with running(tmp_path, opening("mine"), "{input}") as ran:
        value = await ran.value({"input": ran.shelf.file("mine", b"data").plain()})
        assert value["output"] == "\0\0\0\0"


async def test_its_inputs_cannot_be_written_to(tmp_path) -> None:
    async with running(tmp_path, opening("new", create=True), "{input}") as ran:
        value = await ran.value({"input": ran.shelf.file("mine", b"data").plain()})
        assert struct.unpack("<I", _bytes(value["output"]))[0] == NOT_PERMITTED and "files" not in value


async def test_a_link_in_the_output_is_no_way_out(tmp_path) -> None:
    text = module(
        """(call $say (call $path_symlink (i32.const 1024) (i32.const 18) (i32.const 3) (i32.const 1048) (i32.const 4)))
        (call $say (call $path_open (i32.const 3) (i32.const 1) (i32.const 1048) (i32.const 4) (i32.const 0)
            (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))""",
        more='(data (i32.const 1024) "../../blobs/MODULE") (data (i32.const 1048) "link")',
    )
    async with running(tmp_path, text) as ran:
        value = await ran.value({})
        _, opened = struct.unpack("<II", _bytes(value["output"]))
        assert opened == NOT_PERMITTED and "files" not in value and not ran.shelf.kept


async def test_the_environment_is_empty(tmp_path) -> None:
    text = """(module
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (drop (call $sizes (i32.const 0) (i32.const 4))) (call $exit (i32.load (i32.const 0)))))"""
    async with running(tmp_path, text) as ran:
        assert (await ran.value({}))["output"] == ""


async def test_many_files_of_one_item_are_refused(tmp_path) -> None:
    async with running(tmp_path, ECHO) as ran:
        file = ran.shelf.file("mine", b"data").plain()
        assert "65 files; a module gets at most 64" in (await ran.outcome({"files": [file] * 65})).message


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


async def test_what_one_item_leaves_behind_the_next_does_not_find(tmp_path) -> None:
    async with running(tmp_path, nesting(400)) as ran:
        first, second = [await ran.value({}) for _ in range(2)]
        assert first == second and first["output"] == "", "each could make all of its folders"
