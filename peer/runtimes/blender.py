"""The blender runtime: frames of a scene, with the `bpy` module or a `blender` program that this machine has."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from peer.execution.environment import machine_environment
from peer.execution.interpreter import Inside, Interpreter, loader, this_interpreter
from peer.runtimes.base import Probe
from peer.runtimes.inside.blender import PROGRAM_VARIABLE
from protocol.bodies import Manifest
from protocol.errors import LocalError

BLENDER_RUNTIME = "blender"
PLACE_VARIABLE = "PEER_BLENDER"
"""A `blender` program, or an environment with bpy, where it is not found by itself."""
ENVIRONMENT_NAME = ".venv.blender"
"""Beside the environment of the peer: bpy needs another NumPy than the rest."""
RENDER_COMPARE = "render:50"
"""Honest machines of different kinds are beyond 85 dB over a frame; who leaves out one of 16 samples is at 38."""
VERSION_TIMEOUT_S = 20.0
_PACKAGES_AT = Path("/opt/packages/blender")
_PROGRAM_AT = Path("/opt/blender")
_SYSTEM = (Path("/usr"), Path("/bin"))
_FIX = (
    "`./run blender` makes an environment with it beside .venv; or install Blender (apt install blender), or name a "
    f"program or an environment with bpy in {PLACE_VARIABLE}"
)


@dataclass(frozen=True, slots=True)
class Blender:
    """One Blender: a program, or the folder with the bpy module."""

    version: str
    program: Path | None = None
    packages: Path | None = None


class BlenderRuntime:
    """The first Blender that is found: what the owner names, the module, the environment beside ours, the program."""

    name = BLENDER_RUNTIME
    compare = RENDER_COMPARE
    in_place = True

    def probe(self) -> Probe:
        """See `Runtime.probe`."""
        if self._found is None:
            return Probe(problem=self._problem, fix=_FIX)
        return Probe(versions={BLENDER_RUNTIME: self._found.version})

    def environment(self, runtime: str) -> bytes:
        """See `Runtime.environment`: its version, and the kind of machine."""
        return machine_environment({"blender": self._blender().version})

    def inside(self, manifest: Manifest) -> Inside:
        """See `Runtime.inside`."""
        blender = self._blender()
        if blender.packages is not None:
            return Inside(interpreter=_with_packages(self._interpreter, blender.packages), loader=loader("blender"))
        assert blender.program is not None
        program, binds = _seen_inside(blender.program)
        variables = ((PROGRAM_VARIABLE, str(program)),)
        return Inside(
            interpreter=self._interpreter,
            loader=loader("blender"),
            binds=binds,
            environment=variables,
            processes=1,
        )

    def _blender(self) -> Blender:
        if self._found is None:
            raise LocalError(f"{self._problem}; {_FIX}")
        return self._found

    @cached_property
    def _interpreter(self) -> Interpreter:
        return this_interpreter()

    @cached_property
    def _found(self) -> Blender | None:
        return find_blender()

    @property
    def _problem(self) -> str:
        named = os.environ.get(PLACE_VARIABLE)
        return f"{PLACE_VARIABLE}={named} is no Blender of this machine" if named else "Blender is not installed"


def find_blender() -> Blender | None:
    """The Blender of this machine, or None. May take a second, since a program is asked for its version."""
    return next(_blenders(), None)


def _blenders() -> Iterator[Blender]:
    if named := os.environ.get(PLACE_VARIABLE):
        yield from _at(Path(named).expanduser())
        return
    beside = Path(sys.prefix).parent / ENVIRONMENT_NAME
    for folder in (*(Path(entry) for entry in sys.path), *_packages_of(beside)):
        yield from _with_bpy(folder)
    if found := shutil.which("blender"):
        yield from _program(Path(found))


def _at(place: Path) -> Iterator[Blender]:
    if place.is_dir():
        for folder in (place, *_packages_of(place)):
            yield from _with_bpy(folder)
        place = place / "blender"
    if place.is_file():
        yield from _program(place)


def _packages_of(environment: Path) -> list[Path]:
    """Of a virtual environment of this Python."""
    return [environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"]


def _with_bpy(folder: Path) -> Iterator[Blender]:
    if (folder / "bpy").is_dir():
        names = (found[1] for path in folder.glob("bpy-*.dist-info") if (found := re.match(r"bpy-([\d.]+)", path.name)))
        yield Blender(version=next(names, "0").rstrip("."), packages=folder.resolve())


def _program(path: Path) -> Iterator[Blender]:
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_TIMEOUT_S, check=False
        )
        if found := re.search(rb"Blender (\d+(?:\.\d+)+)", said.stdout):
            yield Blender(version=found[1].decode(), program=path.resolve())


def _with_packages(interpreter: Interpreter, packages: Path) -> Interpreter:
    """Blender's packages before ours: it needs a NumPy of its own."""
    if packages in interpreter.package_folders:
        return interpreter
    binds = (*interpreter.binds, (packages, _PACKAGES_AT))
    return replace(interpreter, binds=binds, packages=(str(_PACKAGES_AT), *interpreter.packages))


def _seen_inside(program: Path) -> tuple[Path, tuple[tuple[Path, Path], ...]]:
    """Where the sandbox finds the program, and what it needs for it: the folder that it was unpacked into."""
    if any(program.is_relative_to(one) for one in _SYSTEM):
        return program, ()
    return _PROGRAM_AT / program.name, ((program.parent, _PROGRAM_AT),)
