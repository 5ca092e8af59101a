"""A look at a .blend file before it is sent: which frames it has, what it lacks; and a copy with everything in it.

Done with the Blender of this machine, on the user's own file; scripts in it stay off all the same. Where there is none,
nothing can be said, and the file is sent as it is.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cli.console import say
from cli.exits import WrongUse
from cli.text import count
from peer.runtimes.blender import Blender, find_blender
from peer.runtimes.inside.blender import BlenderFailed, Program, words_of
from protocol.limits import BLOB_PIECE_BYTES

MISSING_SHOWN_MAX = 5
_HEADS = (b"BLENDER", b"\x28\xb5\x2f\xfd", b"\x1f\x8b")
"""Of the file as it is, and compressed by zstandard or gzip."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the file says of itself."""

    path: Path
    """The file to send, which has everything in it."""
    frames: tuple[int, int, int]
    fps: float
    version: str
    engine: str


def check_is_scene(path: Path) -> None:
    """Raise `WrongUse` for what is no .blend file."""
    try:
        with path.open("rb") as file:
            head = file.read(BLOB_PIECE_BYTES)
    except OSError as error:
        raise WrongUse(f"cannot read {path}: {error.strerror}") from error
    if not head.startswith(_HEADS):
        raise WrongUse(f"{path} is no .blend file")


def look_at(path: Path, folder: Path) -> Scene | None:
    """The scene, packed into a copy in `folder` where it uses other files; None where there is no Blender here.

    Raises `WrongUse` when files are missing, or when Blender cannot read it.
    """
    blender = find_blender()
    if blender is None:
        say("there is no Blender on this machine: the scene is sent without a look at what it needs")
        return None
    words, environment = _how_to_start(blender)
    try:
        with closing(Program(words, environment, quiet=True)) as do:
            seen, packed = _seen(do, path, folder)
    except BlenderFailed as error:
        raise WrongUse(f"{path}: Blender {blender.version} cannot read it: {error}") from error
    first, last, step = cast("list[int]", seen["frames"])
    return Scene(packed, (first, last, step), cast("float", seen["fps"]), blender.version, str(seen["engine"]))


def _seen(do: Program, path: Path, folder: Path) -> tuple[Mapping[str, object], Path]:
    """What it says of itself, and the file to send."""
    do("open_scene", str(path.absolute()))
    seen = cast("Mapping[str, object]", do("describe"))
    _check(path, seen)
    outside = cast("list[str]", seen["outside"])
    if not outside:
        return seen, path
    say(f"{path.name} uses {count(len(outside), 'other file')}: packed into what is sent")
    do("pack", str(folder / path.name))
    return seen, folder / path.name


def _check(path: Path, seen: Mapping[str, object]) -> None:
    missing = cast("list[str]", seen["missing"])
    if missing:
        named = ", ".join(missing[:MISSING_SHOWN_MAX]) + (" and more" if len(missing) > MISSING_SHOWN_MAX else "")
        raise WrongUse(
            f"{path} uses {count(len(missing), 'file')} that cannot be found: {named}; put them there, or find them in "
            "Blender (File > External Data > Find Missing Files) and save"
        )
    if not seen["camera"]:
        raise WrongUse(f"{path} has no camera in its scene: nothing can be rendered")


def _how_to_start(blender: Blender) -> tuple[list[str], dict[str, str]]:
    if blender.packages is not None:
        return [sys.executable, "-s", "-P"], {**os.environ, "PYTHONPATH": str(blender.packages)}
    return words_of(str(blender.program)), dict(os.environ)
