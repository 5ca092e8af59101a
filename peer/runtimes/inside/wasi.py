"""Inside the sandbox: a WASI whose clock and random numbers are the same for everyone.

`wasmtime` itself gives modules the machine's clock, its entropy and real sleep. Here the clock counts fuel, sleep moves
it on without waiting, and random bytes come from a seed. It stands before what `wasmtime` defines; the rest (arguments,
standard streams, files) is wasmtime's own. What that leaves open: times and inode numbers of files, the order in
which folders are listed, and how deep calls may nest, which depends on the processor.
"""

import random
import struct
from collections.abc import Callable
from typing import Any

PREVIEW1 = "wasi_snapshot_preview1"
EPOCH_NS = 1_577_836_800 * 10**9
"""What the clock on the wall shows at the start of every item: 2020-01-01, 00:00 UTC."""
CLOCK_RESOLUTION_NS = 1
_RANDOM_PIECE_BYTES = 65_536
_SUBSCRIPTIONS_MAX = 4096

# Numbers of WASI preview 1: errno, clockid, eventtype; sizes of its records.
_SUCCESS, _FAULT, _INVAL = 0, 21, 28
_REALTIME, _MONOTONIC, _CLOCKS = 0, 1, 4
_EVENT_CLOCK = 0
_ABSOLUTE = 1
_SUBSCRIPTION_BYTES, _EVENT_BYTES = 48, 32


class World:
    """Clock and random numbers of one item at a time."""

    def __init__(self) -> None:
        self._slept_ns = 0
        self._random = random.Random(0)
        self._fuel_used: Callable[[], int] = lambda: 0

    def begin(self, seed: int, fuel_used: Callable[[], int]) -> None:
        """A new item: the clock is at its start. One nanosecond is one unit of fuel."""
        self._slept_ns = 0
        self._random.seed(seed)
        self._fuel_used = fuel_used

    def define(self, linker: Any) -> None:
        """Put them before wasmtime's own."""
        import wasmtime

        i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
        linker.allow_shadowing = True
        for function, parameters in (
            (self.random_get, [i32, i32]),
            (self.clock_time_get, [i32, i64, i32]),
            (self.clock_res_get, [i32, i32]),
            (self.poll_oneoff, [i32, i32, i32, i32]),
        ):
            kind = wasmtime.FuncType(parameters, [i32])
            linker.define_func(PREVIEW1, function.__name__, kind, _with_memory(function), access_caller=True)

    def random_get(self, memory: "Memory", at: int, size: int) -> int:
        """Random bytes, from the item's seed."""
        if not memory.has(at, size):
            return _FAULT
        for offset in range(0, size, _RANDOM_PIECE_BYTES):
            memory.write(at + offset, self._random.randbytes(min(_RANDOM_PIECE_BYTES, size - offset)))
        return _SUCCESS

    def clock_time_get(self, memory: "Memory", clock: int, precision: int, at: int) -> int:
        """The time of a clock in nanoseconds."""
        if not 0 <= clock < _CLOCKS:
            return _INVAL
        return memory.put(at, "<Q", self._now_ns(clock))

    def clock_res_get(self, memory: "Memory", clock: int, at: int) -> int:
        """The resolution of a clock in nanoseconds."""
        return memory.put(at, "<Q", CLOCK_RESOLUTION_NS) if 0 <= clock < _CLOCKS else _INVAL

    def poll_oneoff(self, memory: "Memory", subscribed_at: int, events_at: int, count: int, number_at: int) -> int:
        """Files are always ready; where only clocks are waited for, the first one rings at once."""
        if not 0 < count <= _SUBSCRIPTIONS_MAX:
            return _INVAL
        if not (memory.has(subscribed_at, count * _SUBSCRIPTION_BYTES) and memory.has(events_at, count * _EVENT_BYTES)):
            return _FAULT
        found = [memory.read(subscribed_at + n * _SUBSCRIPTION_BYTES, _SUBSCRIPTION_BYTES) for n in range(count)]
        ready = [one for one in found if one[8] != _EVENT_CLOCK] or self._first_to_ring(found)
        for number, one in enumerate(ready):
            event = struct.pack("<8sHB5xQH6x", one[:8], _SUCCESS, one[8], int(one[8] != _EVENT_CLOCK), 0)
            memory.write(events_at + number * _EVENT_BYTES, event)
        return memory.put(number_at, "<I", len(ready))

    def _first_to_ring(self, subscriptions: list[bytes]) -> list[bytes]:
        waits_ns = [self._wait_ns(*struct.unpack_from("<I4xQQH", one, 16)) for one in subscriptions]
        first_ns = min(waits_ns)
        self._slept_ns += first_ns
        return [one for one, wait_ns in zip(subscriptions, waits_ns, strict=True) if wait_ns == first_ns]

    def _wait_ns(self, clock: int, timeout_ns: int, precision_ns: int, flags: int) -> int:
        return max(0, timeout_ns - self._now_ns(clock)) if flags & _ABSOLUTE else timeout_ns

    def _now_ns(self, clock: int) -> int:
        passed_ns = self._fuel_used() + (self._slept_ns if clock <= _MONOTONIC else 0)
        return (passed_ns + (EPOCH_NS if clock == _REALTIME else 0)) % 2**64


class Memory:
    """The memory of the module that calls. Addresses come from it, so each is checked."""

    def __init__(self, caller: Any) -> None:
        self._caller = caller
        self._memory = caller.get("memory")

    def has(self, at: int, size: int) -> bool:
        """Whether so many bytes lie there."""
        return self._memory is not None and at + size <= self._memory.data_len(self._caller)

    def read(self, at: int, size: int) -> bytes:
        """Bytes that are there."""
        return bytes(self._memory.read(self._caller, at, at + size))

    def write(self, at: int, data: bytes) -> None:
        """Put bytes where there is room."""
        self._memory.write(self._caller, data, at)

    def put(self, at: int, form: str, value: int) -> int:
        """Put one number; an error number of WASI."""
        data = struct.pack(form, value)
        if not self.has(at, len(data)):
            return _FAULT
        self.write(at, data)
        return _SUCCESS


def _with_memory(function: Callable[..., int]) -> Callable[..., int]:
    """Addresses and sizes come as signed numbers of 32 bits."""

    def call(caller: Any, *given: int) -> int:
        return function(Memory(caller), *(number % 2**32 for number in given))

    return call
