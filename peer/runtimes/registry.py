"""Which runtimes there are: our own, and those that installed packages add."""

import logging
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from peer.runtimes.base import ENTRY_POINTS, Runtime
from protocol.errors import LocalError

log = logging.getLogger(__name__)


OWN = ("python", "python-env", "command", "wasm", "blender")


def runtime_names() -> tuple[str, ...]:
    """Of all of them, without loading any."""
    return tuple(dict.fromkeys((*OWN, *sorted(one.name for one in entry_points(group=ENTRY_POINTS)))))


def all_runtimes(programs: Sequence[str] | None = None) -> list[Runtime]:
    """One of each, our own first. One that cannot be loaded is logged and left out, and so is a second of one name.

    `programs`: what the command runtime offers, where the owner says it.
    """
    found = {one.name: one for one in _own(programs)}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name):
        runtime = _loaded(point)
        if runtime is not None:
            found.setdefault(runtime.name, runtime)
    return list(found.values())


def named(runtimes: Sequence[Runtime], runtime: str) -> Runtime:
    """The one that a job's runtime (`python`, `command:ffmpeg`) belongs to; raises `LocalError`."""
    first = runtime.partition(":")[0]
    for one in runtimes:
        if one.name == first:
            return one
    raise LocalError(
        f"the runtime {runtime!r} is not offered here; known are {', '.join(one.name for one in runtimes)}"
    )


def _own(programs: Sequence[str] | None) -> list[Runtime]:
    from peer.runtimes.blender import BlenderRuntime
    from peer.runtimes.command import PROGRAMS_DEFAULT, CommandRuntime
    from peer.runtimes.python import PythonRuntime
    from peer.runtimes.python_env import PythonEnvRuntime
    from peer.runtimes.wasm import WasmRuntime

    command = CommandRuntime(PROGRAMS_DEFAULT if programs is None else programs)
    return [PythonRuntime(), PythonEnvRuntime(), command, WasmRuntime(), BlenderRuntime()]


def _loaded(point: EntryPoint) -> Runtime | None:
    """Foreign code, as is everything that its owner has installed: whatever it raises, the peer goes on without it."""
    try:
        return point.load()()  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - see above
        log.warning("the runtime %s (%s) cannot be loaded: %s", point.name, point.value, error)
        return None
