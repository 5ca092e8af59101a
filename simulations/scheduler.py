"""Runs trio so that one seed gives one order of tasks: the only file with trio's private names.

Trio shuffles the tasks that can run at the same moment, on purpose, from a random source of its own. Trio has
a switch for Hypothesis that sorts them first; with that switch and a seeded source the order depends on the
seed alone. Both are private, so the version of trio is checked before they are touched.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from random import Random
from types import ModuleType
from typing import TypeVar

import trio
import trio._core._run
import trio.testing

from protocol.errors import LocalError

TRIO_VERSION = "0.35.0"
"""The version whose private names are known; the lock file pins the same."""

_SOURCE = "_r"
_TIME = "_virtual_base"
_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"

ValueT = TypeVar("ValueT")


class _Source(Random):
    """Marks a run that is going on."""


def run_seeded(main: Callable[[], Awaitable[ValueT]], seed: str) -> ValueT:
    """Run `main` in virtual time, which jumps whenever all tasks wait, in an order that the seed fixes.

    One at a time in a process. Raises `LocalError` where trio is not the known one, or another run is going on.
    What ends `main` comes out as itself and in no group: an interruption, else our own error, else the first.
    """
    module = _known_trio()
    before = {name: getattr(module, name) for name in (_SOURCE, _SWITCH)}
    if isinstance(before[_SOURCE], _Source):
        raise LocalError("a simulation already runs in this process: run them one after another, or in processes")
    setattr(module, _SOURCE, _Source(seed))
    setattr(module, _SWITCH, True)
    try:
        # An interruption waits for a checkpoint of `main`: raised wherever it strikes, it would end trio itself when
        # that is in the clock, and be lost when that is in a callback of the garbage collector.
        return trio.run(main, clock=_standing_clock(), restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as group:
        raise _cause(group) from group
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _standing_clock() -> trio.testing.MockClock:
    """Virtual time that stands still but for its jumps; reading it, which is done all the time, costs little."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.current_time = partial(attrgetter(_TIME), clock)  # type: ignore[method-assign]
    return clock


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group.subgroup(KeyboardInterrupt) or group.subgroup(LocalError) or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _known_trio() -> ModuleType:
    module = trio._core._run
    found = version("trio")
    known = all(hasattr(module, name) for name in (_SOURCE, _SWITCH)) and hasattr(trio.testing.MockClock(), _TIME)
    if found != TRIO_VERSION or not known:
        raise LocalError(
            f"simulations need trio {TRIO_VERSION}, whose scheduler can be seeded, and this is trio "
            f"{found}: install trio=={TRIO_VERSION}"
        )
    return module
