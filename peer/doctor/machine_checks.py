"""The doctor looks at what is installed: Python and its packages, graphics processors, Blender."""

import importlib.util
import platform
import re
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from peer.doctor.check import Check, ok, problem, warning
from peer.gpus import find_gpus
from peer.runtimes.blender import find_blender
from protocol.requirements import size_in_words

PYTHON_MIN, PYTHON_NEXT = (3, 11), (3, 14)
_PACKAGE = "parallel-peer"


def python_check() -> Check:
    """Whether this Python will do, and whether the packages that it needs are there."""
    here = platform.python_version()
    if not PYTHON_MIN <= sys.version_info[:2] < PYTHON_NEXT:
        return problem(
            "Python", f"{here}; 3.11 to 3.13 will do", "PYTHON=/path/to/python3.11 ./run setup, in a fresh .venv"
        )
    if missing := list(_missing_packages()):
        return problem("Python", f"{here}; not as wanted: {', '.join(missing)}", "./run setup")
    return ok("Python", f"{here} in {sys.prefix}, SQLite {sqlite3.sqlite_version}")


def _missing_packages() -> Iterator[str]:
    """Those without which nothing works; `libp2p` must be the very version."""
    try:
        wanted = requires(_PACKAGE) or []
    except PackageNotFoundError:
        return
    for line in wanted:
        name, pinned = re.match(r"[A-Za-z0-9._-]+", line), re.search(r"==([\w.]+)", line)
        if name is None or ";" in line:
            continue  # an extra, or for another system
        try:
            found = version(name[0])
        except PackageNotFoundError:
            yield f"{name[0]} is not installed"
            continue
        if pinned and found != pinned[1]:
            yield f"{name[0]} is {found}, not {pinned[1]}"


def gpu_check() -> Check:
    """What is announced of graphics processors."""
    found = [f"{one.model or one.vendor} {size_in_words(one.memory_bytes) if one.memory_bytes else ''}".strip()
             for one in find_gpus()]  # fmt: skip
    if not found:
        return ok("GPU", "no NVIDIA GPU is found; others are not looked for")
    note = "announced, but the sandboxes do not hand it in yet"
    if importlib.util.find_spec("pynvml") is None:
        return warning("GPU", f"{', '.join(found)}: {note}; its memory is not known", "pip install nvidia-ml-py")
    return ok("GPU", f"{', '.join(found)}: {note}")


def blender_check() -> Check:
    """The one that the blender runtime takes."""
    found = find_blender()
    if found is None:
        return ok("Blender", "neither the module bpy nor the program blender is found")
    what = f"the module bpy in {found.packages}" if found.packages else f"the program {found.program}"
    return ok("Blender", f"{found.version}, {what}")
