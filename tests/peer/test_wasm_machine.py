"""A compiled module without a sandbox around it: how runs end, and that nothing but the input changes them."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasm_texts import ARGUMENTS, CHANCE_AND_TIME, ECHO, module

from peer.runtimes.inside import wasm_machine
from peer.runtimes.inside.wasi import Memory, World
from peer.runtimes.inside.wasm import stdin_of, values_of, with_guest_paths
from peer.runtimes.inside.wasm_machine import BadModule, Call, Machine, memory_limit
from protocol.limits import MIB

pytest.importorskip("wasmtime", reason="the extra `wasm` is not installed")

MEMORY = 64 * MIB
NESTED = module("(call $deeper)", more="(func $deeper (call $deeper))")
ENDINGS = {
    "fuel": (module("(loop $l (br $l))"), "OutOfFuel", "all of its 100000 fuel was used; --fuel N allows more"),
    "unreachable": (module("unreachable"), "Trapped", "instruction executed (memory: 0.125 of 64 MiB)"),
    "division": (module("(drop (i32.div_s (i32.const 1) (i32.const 0)))"), "Trapped", "integer divide by zero"),
    "memory": (module("(drop (i32.load (i32.const -4)))"), "Trapped", "out of bounds memory access"),
    "stack": (NESTED, "Trapped", "call stack exhausted"),
    "status": (module("(call $proc_exit (i32.const 3))"), "ExitStatus", "the module ended with status 3"),
    "a trap before the start": (
        '(module (func $f unreachable) (start $f) (func (export "_start")))',
        "BadModule",
        "cannot be started: wasm `unreachable` instruction executed",
    ),
    "fuel before the start": (
        '(module (func $f (loop $l (br $l))) (start $f) (func (export "_start")))',
        "OutOfFuel",
        "all of its 100000 fuel was used",
    ),
    "start": ("(module)", "BadModule", "the module has no `_start`: build a command"),
    "parameters": ('(module (func (export "_start") (param i32)))', "BadModule", "has no `_start`"),
    "not a function": ('(module (memory (export "_start") 1))', "BadModule", "has no `_start`"),
    "nonsense": (b"\0asm\1\0\0\0nonsense", "BadModule", "the module cannot be compiled: unexpected end"),
    "no module": ("hello", "BadModule", "the module cannot be compiled: "),
    "foreign": (
        '(module (import "wasi_unstable" "sched_yield" (func (result i32))) (func (export "_start")))',
        "BadModule",
        "the module imports 'wasi_unstable', and there is wasi_snapshot_preview1 alone",
    ),
    "unknown": (
        '(module (import "wasi_snapshot_preview1" "no_such" (func)) (func (export "_start")))',
        "BadModule",
        "cannot be started: unknown import: `wasi_snapshot_preview1::no_such`",
    ),
    "large from the start": (module("", pages=60_000), "BadModule", "60000 pages exceeds memory limits"),
    "shared": ('(module (memory 1 2 shared) (func (export "_start")))', "BadModule", "threads must be enabled"),
    "wide": ('(module (memory i64 1) (func (export "_start")))', "BadModule", "memory64 must be enabled"),
    "table": ('(module (table 2000000 funcref) (func (export "_start")))', "BadModule", "exceeds table limits"),
}


@pytest.fixture(autouse=True, scope="module")
def folders(tmp_path_factory):
    """Places of this machine instead of the sandbox's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("wasm")
        patch.setattr(wasm_machine, "OUT", folder)
        patch.setattr(wasm_machine, "STDIN", folder / "stdin")
        yield


def run(code: str | bytes, *argv: str, stdin: bytes = b"", fuel: int = 1_000_000, seed: int = 0) -> dict[str, object]:
    machine = Machine(code if isinstance(code, bytes) else code.encode(), MEMORY)
    return machine.run(Call(["m.wasm", *argv], stdin), fuel, seed)


@pytest.mark.parametrize("name", ENDINGS)
def test_how_runs_end_is_said_in_one_line(name: str) -> None:
    code, error, story = ENDINGS[name]
    with pytest.raises((ValueError, RuntimeError)) as raised:
        run(code, fuel=100_000)
    assert type(raised.value).__name__ == error
    assert story in str(raised.value) and "\n" not in str(raised.value)


def test_a_good_exit_is_a_result_with_its_fuel() -> None:
    assert run(module("(call $proc_exit (i32.const 0)) unreachable")) == {"fuel": 3, "output": ""}


@given(
    st.binary(max_size=500),
    st.sampled_from([1, 300, 8000]),
    st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"))),
)
@settings(max_examples=15, deadline=None)
def test_everything_read_is_printed_for_the_same_fuel(part: bytes, times: int, argv: list[str]) -> None:
    stdin = part * times
    first, again = (run(ECHO, stdin=stdin, seed=seed) for seed in (1, 2))
    printed = first["output"]
    assert first == again and (printed.encode() if isinstance(printed, str) else printed) == stdin
    assert run(ARGUMENTS, *argv)["output"] == "".join(f"{one}\0" for one in ("m.wasm", *argv))


@given(st.integers(0, 2**64), st.integers(0, 2**64))
@settings(max_examples=20, deadline=None)
def test_chance_comes_from_the_seed_alone(seed: int, other: int) -> None:
    drawn = [run(CHANCE_AND_TIME, seed=one)["output"] for one in (seed, seed, other)]
    assert drawn[0] == drawn[1] and (drawn[0] == drawn[2]) == (seed == other)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_whatever_is_no_module_is_refused(code: bytes) -> None:
    for one in (code, b"\0asm\1\0\0\0" + code):
        with pytest.raises(BadModule) as raised:
            Machine(one, MEMORY)
        assert "\n" not in str(raised.value)


class PlainMemory:
    """As much of wasmtime's memory as is asked for."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def data_len(self, _: object) -> int:
        return len(self.data)

    def read(self, _: object, start: int, stop: int) -> bytes:
        assert 0 <= start <= stop <= len(self.data)
        return self.data[start:stop]

    def write(self, _: object, data: bytes, at: int) -> None:
        assert at >= 0 and at + len(data) <= len(self.data)
        self.data[at : at + len(data)] = data


ADDRESSES = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 5000))


@given(st.binary(min_size=1, max_size=200), ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES)
@settings(max_examples=300)
def test_no_address_leads_out_of_memory(content: bytes, a: int, b: int, c: int, d: int) -> None:
    plain = PlainMemory(0)
    plain.data[:] = (content * 4096)[:4096]
    memory, world = Memory({"memory": plain}), World()
    world.begin(1, lambda: 5)
    answers = (
        world.random_get(memory, a, b),
        world.clock_time_get(memory, a % 6, 1, b),
        world.clock_res_get(memory, a, b),
        world.poll_oneoff(memory, a, b, c % 40, d),
        world.poll_oneoff(memory, a % 4096, b % 4096, c % 40, d % 4096),
    )
    assert set(answers) <= {0, 21, 28} and len(plain.data) == 4096


def test_files_are_ready_before_any_clock_rings() -> None:
    plain = PlainMemory(4096)
    clock = struct.pack("<QB7xI4xQQH6x", 1, 0, 1, 10**9, 0, 0)
    plain.data[:144] = clock + struct.pack("<QB7xI28x", 2, 1, 0) + struct.pack("<QB7xI28x", 3, 2, 1)
    memory, world = Memory({"memory": plain}), World()
    assert world.poll_oneoff(memory, 0, 1024, 3, 2048) == 0
    assert struct.unpack_from("<I", plain.data, 2048) == (2,)
    assert [struct.unpack_from("<QHB", plain.data, 1024 + 32 * n) for n in range(2)] == [(2, 0, 1), (3, 0, 2)]
    assert world.clock_time_get(memory, 1, 1, 0) == 0 and plain.data[:8] == bytes(8), "nobody has slept"


def test_the_first_clock_rings_alone() -> None:
    plain = PlainMemory(4096)
    times = ((1, 300, 0), (2, 100, 0), (3, 100, 1))
    plain.data[:144] = b"".join(struct.pack("<QB7xI4xQQH6x", one, 0, 1, ns, 0, flag) for one, ns, flag in times)
    memory, world = Memory({"memory": plain}), World()
    assert world.poll_oneoff(memory, 0, 1024, 3, 2048) == 0
    assert struct.unpack_from("<I", plain.data, 2048) == (2,)
    world.clock_time_get(memory, 1, 1, 0)
    assert struct.unpack_from("<Q", plain.data) == (100,)


def test_what_a_module_may_have_of_the_memory() -> None:
    assert memory_limit(2048 * MIB) == 1920 * MIB and memory_limit(64 * MIB) == 16 * MIB
    assert memory_limit(2**50) == 2**32 and memory_limit(129 * MIB + 1) % 65_536 == 0


def test_values_and_standard_input_of_an_item() -> None:
    assert values_of({"item": {"a": 1, "index": 9}, "index": 0}) == {"item": {"a": 1, "index": 9}, "a": 1, "index": 0}
    assert stdin_of({"item": "as it is"}) == b"as it is" and stdin_of({"input": "x"}) == b""
    assert json.loads(stdin_of({"item": {"z": [1, None], "a": "ü"}})) == {"a": "ü", "z": [1, None]}


def test_paths_are_numbered_within_the_item(tmp_path) -> None:
    values, folders = with_guest_paths({"input": tmp_path / "7" / "a", "more": [tmp_path / "8" / "b", "c"]})
    assert values == {"input": "/inputs/0/a", "more": ["/inputs/1/b", "c"]}
    assert folders == [tmp_path / "7", tmp_path / "8"]
