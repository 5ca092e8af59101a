"""Inside the sandbox: arguments with an item's values in them, and the folder for the files of a result.

`{NAME}` in an argument stands for the item's value of that name; `{output}` for a path in an empty folder, whose files
are the result. Shared by the runtimes that run programs, and by the commands that submit them.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

OUT = Path("/tmp/out")
OUTPUT = "output"
STDOUT_BYTES_MAX = 4 * 1024 * 1024
"""Of one item: what is longer belongs into files."""
STDERR_SHOWN_MAX = 2000
"""Characters of what a program says on standard error, in its item's error."""
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def names(word: str) -> set[str]:
    """Those that stand in an argument."""
    return {found[1] for found in _PLACE.finditer(word) if found[1]}


def filled(word: str, values: Mapping[str, object]) -> str:
    """An argument with values; doubled braces stand for one. Raises `KeyError` for a name without a value."""

    def put(found: "re.Match[str]") -> str:
        return str(values[found[1]]) if found[1] else found[0][0]

    return _PLACE.sub(put, word)


def gives_files(argv: Iterable[str]) -> bool:
    """Whether one of the arguments says where files go."""
    return any(OUTPUT in names(word) for word in argv)


def empty_out() -> None:
    """Make the folder for the next item's files."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()


def files_in_out() -> list[Path]:
    """The regular files below it in the order of their paths; links are not followed and not among them."""
    below = (Path(folder) / name for folder, _, found in os.walk(OUT) for name in found)
    return sorted(path for path in below if path.is_file() and not path.is_symlink())
