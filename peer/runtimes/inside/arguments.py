"""Inside the sandbox: arguments with an item's values in them, and the folder for the files of a result.

`{NAME}` in an argument stands for the item's value of that name; `{output}` for a path in an empty folder, whose files
are the result. Shared by the runtimes that run programs, and by the commands that submit them.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path

OUT = Path(os.environ.get("TMPDIR", "/tmp")) / "out"
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
    """Make the folder for the next item's files, whatever the last one has put there."""
    if OUT.exists():
        remove_tree(OUT)
    OUT.mkdir()


def remove_tree(root: Path) -> None:
    """Remove a folder that may be nested deeper than paths are long and files may be open: `shutil.rmtree` stops there,
    and the next item would find what is left. So folders are taken out of one another first.
    """
    with tempfile.TemporaryDirectory(dir=root.parent) as place:
        numbers = count()
        folders = [root.rename(Path(place) / str(next(numbers)))]
        while folders:
            folder = folders.pop()
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o700)
                    folders.append(path.rename(Path(place) / str(next(numbers))))
                else:
                    path.unlink()
            folder.rmdir()


def files_in_out() -> list[Path]:
    """The regular files below it in the order of their paths; links are not followed and not among them."""
    below = (Path(folder) / name for folder, _, found in os.walk(OUT) for name in found)
    return sorted(path for path in below if path.is_file() and not path.is_symlink())
