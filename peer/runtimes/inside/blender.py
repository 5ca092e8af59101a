"""Inside the sandbox: Blender with the scene loaded once, one frame or tile of it for each item.

The job's code is JSON: `format`, and `engine`, `samples`, `percent` where they are not to be those of the file. The
scene is the blob `SCENE`. An item is `{"frame": 7}`, or with `"tile": [column, row, columns, rows]`, rows from the top.
With `{"decode": true}` as its code it gives the pixels of files instead (`protocol/pictures.py`).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from peer.runtimes.inside import pictures

SCENE_BLOB = "SCENE"
PROGRAM_VARIABLE = "PEER_BLENDER_PROGRAM"
OUT = Path(os.environ.get("TMPDIR", "/tmp")) / "frames"
PIXELS_MAX = 1_000_000
"""Of a decoded picture; larger ones are made smaller, each pixel the mean of those that it stands for."""
Do = Callable[..., Any]
_RAISED_BY_BPY = (RuntimeError, AttributeError, TypeError, ValueError, KeyError, OSError)
"""An operator that fails; a property or an engine that this version does not have."""


class BlenderFailed(RuntimeError):
    """Blender says what is wrong. Another version, or another machine, may do better: it is no result of the frame."""


def load(job: dict[str, Any]) -> Callable[[Any], object]:
    """The function that renders an item; the scene is loaded when it returns."""
    from peer.execution.runner_job import ChunkFailed

    spec, cores = json.loads(job["code"]), job["cores"]
    program = os.environ.get(PROGRAM_VARIABLE)
    try:
        do = Program(words_of(program, cores), os.environ) if program else as_module(cores)
        if spec.get("decode"):
            return partial(decoded, do)
        do("open_scene", os.environ[f"PEER_BLOB_{SCENE_BLOB}"])
        do("configure", spec, cores)
    except BlenderFailed as error:
        raise ChunkFailed("ENVIRONMENT", 0, f"Blender or the scene cannot be loaded: {error}") from error

    def run(item: Any) -> object:
        try:
            return rendered(do, item, spec["format"])
        except BlenderFailed as error:
            raise ChunkFailed("ENVIRONMENT", 0, f"frame {item['frame']}: {error}") from error

    return run


def decoded(do: Do, path: Any) -> object:
    """Width, height, channels, whether they are floats, and the pixels of a picture file."""
    raw = OUT.with_name("pixels")
    try:
        width, height, channels, is_float = do("decode", str(path), str(raw), PIXELS_MAX)
    except BlenderFailed as error:
        raise ValueError(f"{Path(path).name} is no picture: {error}") from error
    return [width, height, channels, is_float, raw.read_bytes()]


def rendered(do: Do, item: dict[str, Any], suffix: str) -> Path:
    """The file of a frame or tile; raises `BlenderFailed`."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    path = OUT / frame_name(item, suffix)
    do("render", item["frame"], str(path), border_of(item.get("tile")))
    if not path.is_file():
        raise BlenderFailed("it was not written: the output says why")
    try:
        pictures.clean(path)
    except ValueError as error:
        raise BlenderFailed(str(error)) from error
    return path


def frame_name(item: dict[str, Any], suffix: str) -> str:
    """`0007.png`; of a tile `0007.1x0.png`."""
    tile = item.get("tile")
    place = f".{tile[0]}x{tile[1]}" if tile else ""
    return f"{item['frame']:04d}{place}.{suffix}"


def border_of(tile: list[int] | None) -> tuple[float, float, float, float] | None:
    """Left, right, bottom and top of a tile, as shares of the frame; Blender counts from the bottom."""
    if tile is None:
        return None
    column, row, columns, rows = tile
    return column / columns, (column + 1) / columns, 1 - (row + 1) / rows, 1 - row / rows


def as_module(cores: int) -> Do:
    """Blender as a module of this Python (`bpy`), with so many threads.

    It makes a thread for each processor that it sees as it is loaded, and those that have nothing to do spin: two
    runners beside one another would take twice the time. So it is loaded seeing only so many.
    """
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):  # the weaker sandbox forbids it
        os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        from peer.runtimes.inside import blender_scene
    except ImportError as error:  # a library of the system that it needs is not here
        raise BlenderFailed(f"bpy: {error}") from error
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)

    def do(name: str, *given: object) -> object:
        try:
            return getattr(blender_scene, name)(*given)
        except _RAISED_BY_BPY as error:
            raise BlenderFailed(f"{type(error).__name__}: {str(error).strip()}") from error

    return do


def words_of(program: str, cores: int = 1) -> list[str]:
    """How the `blender` program runs a script of ours and nothing else, with so many threads."""
    quiet = ["--factory-startup", "-noaudio", "--disable-autoexec", "--python-exit-code", "1"]
    return [program, "-b", "-t", str(cores), *quiet, "--python"]


class Program:
    """Blender as a process of its own, spoken to in lines of JSON. `words` run a script; `quiet` hides its output."""

    def __init__(self, words: list[str], environment: Mapping[str, str], *, quiet: bool = False) -> None:
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        script = str(Path(pictures.__file__).with_name("blender_program.py"))
        self._process = subprocess.Popen(
            [*words, script, "--", str(requests_out), str(answers_in)],
            pass_fds=(requests_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else sys.stderr,
            stderr=subprocess.DEVNULL if quiet else None,
            # The library path is for the Python in here, and Blender brings another one.
            env={key: value for key, value in environment.items() if key != "LD_LIBRARY_PATH"},
        )
        for fd in (requests_out, answers_in):
            os.close(fd)
        self._requests = os.fdopen(requests_in, "w", encoding="utf-8")
        self._answers = os.fdopen(answers_out, encoding="utf-8")

    def __call__(self, name: str, *given: object) -> object:
        """Call a function of `blender_scene.py`; raises `BlenderFailed`."""
        try:
            self._requests.write(json.dumps({"do": name, "with": given}) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BlenderFailed(f"Blender ended with status {self._process.wait()}: its output says why")
        answer = json.loads(line)
        if "error" in answer:
            raise BlenderFailed(answer["error"])
        return answer["ok"]

    def close(self) -> None:
        """End it. Not by its own way out, on which Blender as a module may hang."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        self._process.wait()
