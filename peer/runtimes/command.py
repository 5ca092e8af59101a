"""The command runtime: any program that the worker offers, run in the sandbox with files in and files out.

Each program is a runtime of its own in the directory (`command:ffmpeg`), so that who has it is found, and its version
can be required. Nothing is safer or less safe for being offered: a python job may start what is in `/usr` anyway.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from peer.execution.environment import machine_environment
from peer.execution.interpreter import Inside, Interpreter, loader, this_interpreter
from peer.runtimes.base import PROGRAMS_MAX, Probe
from protocol.bodies import Manifest
from protocol.errors import LocalError

COMMAND_RUNTIME = "command"
PROGRAMS_DEFAULT = (
    "ffmpeg",
    "convert",
    "magick",
    "povray",
    "gs",
    "sox",
    "gnuplot",
    "octave",
    "R",
    "pandoc",
    "gcc",
    "xz",
)
VERSION_TIMEOUT_S = 5.0
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_SEEN_INSIDE = (Path("/usr"), Path("/bin"), Path("/sbin"))


class CommandRuntime:
    """The programs of this machine; those of a list that are here."""

    name = COMMAND_RUNTIME
    compare = "exact"
    in_place = True

    def __init__(self, programs: Sequence[str] = PROGRAMS_DEFAULT) -> None:
        self._wanted = programs

    def probe(self) -> Probe:
        """See `Runtime.probe`."""
        if self._found:
            return Probe(versions={f"{COMMAND_RUNTIME}:{name}": version for name, version in self._found.items()})
        return Probe(
            problem=f"none of {', '.join(self._wanted)} is installed below /usr",
            fix="install one, or name others with `peer start --programs`",
        )

    def environment(self, runtime: str) -> bytes:
        """See `Runtime.environment`: program, version, kind of machine."""
        name = runtime.partition(":")[2]
        return machine_environment({"program": name, "version": self._found[name]})

    def inside(self, manifest: Manifest) -> Inside:
        """See `Runtime.inside`."""
        if manifest.runtime.partition(":")[2] not in self._found:
            raise LocalError(f"{manifest.runtime} is not offered here")
        return Inside(interpreter=self._interpreter, loader=loader("command"))

    @cached_property
    def _interpreter(self) -> Interpreter:
        return this_interpreter()

    @cached_property
    def _found(self) -> dict[str, str]:
        found = {name: path for name in self._wanted if (path := _path_of(name)) is not None}
        return {name: _version_of(path) for name, path in list(found.items())[:PROGRAMS_MAX]}


def _path_of(name: str) -> Path | None:
    """Where the sandbox finds it too."""
    path = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin")
    return Path(path) if path and any(Path(path).resolve().is_relative_to(one) for one in _SEEN_INSIDE) else None


def _version_of(path: Path) -> str:
    """The first thing that looks like one in what it says of itself; 0 where it says nothing."""
    for option in ("--version", "-version"):
        with suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(
                [path, option], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_TIMEOUT_S, check=False
            )
            if found := _VERSION.search((said.stdout + said.stderr).decode(errors="replace")):
                return found[0]
    return "0"
