"""Inside the sandbox: a compiled WASI module, and one run of it with limits on fuel, memory and output.

Whatever a result could depend on is set here: features of the language, the form of NaN, memory, stack, clock, chance.
"""

import errno
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peer.runtimes.inside.arguments import OUT, OUTPUT, STDERR_SHOWN_MAX, STDOUT_BYTES_MAX
from peer.runtimes.inside.wasi import PREVIEW1, World

_MIB = 1024 * 1024
MODULE_BYTES_MAX = 64 * _MIB
STDERR_BYTES_MAX = 64 * 1024
FILES_PER_ITEM_MAX = 64
PROCESS_BYTES = 128 * _MIB
"""What the process around the module needs of the job's memory."""
_PAGE_BYTES = 65_536
_MEMORY_BYTES_MAX = 2**32
_GUARD_BYTES = 65_536
_STACK_BYTES_MAX = 1 * _MIB
_TABLE_ELEMENTS_MAX = 1_000_000
_TABLES_MAX = 64
STDIN = Path("/tmp/stdin")
INPUTS = "/inputs"
"""Where the module finds the files of its item."""
_ON, _OFF = True, False
_FEATURES = (
    ("consume_fuel", _ON),
    ("cranelift_nan_canonicalization", _ON),
    ("wasm_relaxed_simd_deterministic", _ON),
    # What would share memory, or has memory that no limit counts.
    ("shared_memory", _OFF),
    ("wasm_threads", _OFF),
    ("wasm_memory64", _OFF),
    ("wasm_multi_memory", _OFF),
    ("wasm_gc", _OFF),
    # The address space is limited: no more of it than the module may use, and all of it at once, so that growing
    # neither moves nor fails before the limit.
    ("parallel_compilation", _OFF),
    ("memory_init_cow", _OFF),
    ("memory_may_move", _OFF),
    ("memory_guard_size", _GUARD_BYTES),
    ("memory_reservation_for_growth", 0),
    ("max_wasm_stack", _STACK_BYTES_MAX),
)


class BadModule(ValueError):
    """The module cannot be run, whatever the item."""


class OutOfFuel(RuntimeError):
    """The item's fuel was used up."""


class Trapped(RuntimeError):
    """The module did what ends it: `unreachable`, a division by zero, memory that is not there."""


class ExitStatus(RuntimeError):
    """The module ended with another status than 0."""


class TooMuchOutput(RuntimeError):
    """It printed more than a result may have."""


@dataclass(frozen=True, slots=True)
class Call:
    """All that a module gets."""

    argv: list[str]
    stdin: bytes = b""
    folders: list[Path] = field(default_factory=list)

    def seed(self, job: str) -> int:
        """For its random numbers: the same for everyone who runs the same item of the same job."""
        text = json.dumps([job, self.argv]).encode()
        return int.from_bytes(hashlib.sha256(text + b"\0" + self.stdin).digest(), "little")


def memory_limit(memory_bytes: int) -> int:
    """How much of a job's memory the module itself may have: whole pages."""
    room = max(memory_bytes - PROCESS_BYTES, memory_bytes // 4)
    return min(room, _MEMORY_BYTES_MAX) // _PAGE_BYTES * _PAGE_BYTES


class Machine:
    """One compiled module. Raises `BadModule` where it cannot be compiled, or is not a command for WASI preview 1."""

    def __init__(self, module: bytes, memory_bytes_max: int) -> None:
        import wasmtime

        if len(module) > MODULE_BYTES_MAX:
            raise BadModule(f"the module has {len(module)} bytes; at most {MODULE_BYTES_MAX} are allowed")
        self._memory_bytes_max = memory_bytes_max
        self._engine = wasmtime.Engine(_config(memory_bytes_max))
        try:
            code = module if module.startswith(b"\0asm") else wasmtime.wat2wasm(module)
            self._module = wasmtime.Module(self._engine, bytes(code))
        except wasmtime.WasmtimeError as error:
            raise BadModule(f"the module cannot be compiled: {_one_line(error)}") from None
        _check(self._module)
        self._world = World()
        self._linker = wasmtime.Linker(self._engine)
        self._linker.define_wasi()
        self._world.define(self._linker)

    def run(self, call: Call, fuel: int, seed: int) -> dict[str, object]:
        """One instance from its start to its end."""
        import wasmtime

        store = wasmtime.Store(self._engine)
        try:
            store.set_fuel(fuel)
            store.set_limits(self._memory_bytes_max, _TABLE_ELEMENTS_MAX, 1, _TABLES_MAX, 1)
            printed, told = Printed(STDOUT_BYTES_MAX, ends_when_full=True), Printed(STDERR_BYTES_MAX)
            store.set_wasi(_wasi(call, printed, told))
            self._world.begin(seed, lambda: fuel - store.get_fuel())
            try:
                self._start(store, fuel, told)
            except (Trapped, ExitStatus):
                printed.check()  # then that is what it could not cope with
                raise
            finally:
                print(told.text(), end="")  # noqa: T201 - the job's output
            return {"fuel": fuel - store.get_fuel(), "output": printed.value()}
        finally:
            store.close()

    def _start(self, store: Any, fuel: int, told: "Printed") -> None:
        import wasmtime

        try:
            exports = self._linker.instantiate(store, self._module).exports(store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            if getattr(error, "trap_code", None) == wasmtime.TrapCode.OUT_OF_FUEL:
                raise _out_of_fuel(fuel) from None
            raise BadModule(f"the module cannot be started: {_one_line(error)}") from None
        try:
            exports["_start"](store)
        except wasmtime.ExitTrap as ended:
            if ended.code:
                last = told.text()[-STDERR_SHOWN_MAX:].strip()
                raise ExitStatus(f"the module ended with status {ended.code}" + (f": {last}" if last else "")) from None
        except wasmtime.Trap as trap:
            if trap.trap_code == wasmtime.TrapCode.OUT_OF_FUEL:
                raise _out_of_fuel(fuel) from None
            raise Trapped(_one_line(trap) + self._memory_in_words(exports, store)) from trap

    def _memory_in_words(self, exports: Any, store: Any) -> str:
        """Modules that get no more memory often end with `unreachable`, or an address that is not there."""
        memory = exports.get("memory")
        size = getattr(memory, "data_len", lambda _: 0)(store)
        return f" (memory: {size / _MIB:.4g} of {self._memory_bytes_max / _MIB:.4g} MiB)" if size else ""


class Printed:
    """What a module writes to one of its streams, up to a limit."""

    def __init__(self, bytes_max: int, *, ends_when_full: bool = False) -> None:
        self._bytes_max = bytes_max
        self._ends_when_full = ends_when_full
        self._data = bytearray()
        self._is_cut = False

    def write(self, data: bytes) -> int:
        """Called by wasmtime. What is over the limit is forgotten; where the stream ends, the module sees an error."""
        room = self._bytes_max - len(self._data)
        self._is_cut |= len(data) > room
        self._data += data[:room]
        return -errno.EFBIG if self._is_cut and self._ends_when_full else len(data)

    def check(self) -> None:
        """Raise `TooMuchOutput` where it was."""
        if self._is_cut:
            raise TooMuchOutput(f"it printed more than {self._bytes_max} bytes: write files to /{OUTPUT}")

    def value(self) -> str | bytes:
        """Text where it is text; raises `TooMuchOutput`."""
        self.check()
        data = bytes(self._data)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data

    def text(self) -> str:
        """For people."""
        return self._data.decode(errors="replace")


def _config(memory_bytes_max: int) -> Any:
    import wasmtime

    config = wasmtime.Config()
    for name, value in (*_FEATURES, ("memory_reservation", memory_bytes_max)):
        setattr(config, name, value)
    return config


def _check(module: Any) -> None:
    if foreign := sorted({one.module for one in module.imports} - {PREVIEW1}):
        raise BadModule(f"the module imports {foreign[0]!r}, and there is {PREVIEW1} alone: build it for wasm32-wasip1")
    start = next((one.type for one in module.exports if one.name == "_start"), None)
    if start is None or getattr(start, "params", None) != [] or start.results:
        raise BadModule("the module has no `_start`: build a command with a main function, for wasm32-wasip1")


def _wasi(call: Call, printed: Printed, told: Printed) -> Any:
    import wasmtime

    if len(call.folders) > FILES_PER_ITEM_MAX:
        raise BadModule(f"the item has {len(call.folders)} files; a module gets at most {FILES_PER_ITEM_MAX}")
    wasi = wasmtime.WasiConfig()
    wasi.argv = call.argv
    STDIN.write_bytes(call.stdin)
    wasi.stdin_file = str(STDIN)
    wasi.stdout_custom = printed.write
    wasi.stderr_custom = told.write
    for number, folder in enumerate(call.folders):
        wasi.preopen_dir(str(folder), f"{INPUTS}/{number}", fs_mutable=False)
    wasi.preopen_dir(str(OUT), f"/{OUTPUT}", fs_mutable=True)
    return wasi


def _out_of_fuel(fuel: int) -> OutOfFuel:
    return OutOfFuel(f"all of its {fuel} fuel was used; --fuel N allows more")


def _one_line(error: Exception) -> str:
    """The cause, which stands last, without the backtrace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("wasm trap: ") if lines else type(error).__name__
