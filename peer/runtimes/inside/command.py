"""Inside the sandbox: a program, run once for each item, with the item's values and files in its arguments.

The job's code is JSON: `{"argv": [...]}`. `{NAME}` in an argument stands for the item's value of that name, for a file
its path; `{output}` for a path in an empty folder, whose files are the result. Without `{output}` the result is what
the program prints.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path("/tmp/out")
OUTPUT = "output"
STDOUT_BYTES_MAX = 4 * 1024 * 1024
STDERR_SHOWN_MAX = 2000
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


class CommandFailed(RuntimeError):
    """The program ended with another status than 0."""


def load(job: dict[str, Any]) -> Callable[[Any], object]:
    """The function that runs the program of the job."""
    argv: list[str] = json.loads(job["code"])["argv"]
    gives_files = any(OUTPUT in names(word) for word in argv)

    def run(item: Any) -> object:
        values = item if isinstance(item, dict) else {"item": item}
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir()
        output = OUT / str(values.get(OUTPUT, OUTPUT))
        ended = _run([filled(word, {**values, OUTPUT: output}) for word in argv])
        if not gives_files:
            return ended
        files = sorted(path for path in OUT.rglob("*") if path.is_file())
        if not files:
            raise CommandFailed(f"{argv[0]} wrote no file at {{{OUTPUT}}}")
        return files if len(files) > 1 else files[0]

    return run


def names(word: str) -> set[str]:
    """Those that stand in an argument."""
    return {found[1] for found in _PLACE.finditer(word) if found[1]}


def filled(word: str, values: dict[str, Any]) -> str:
    """An argument with values; doubled braces stand for one."""

    def put(found: "re.Match[str]") -> str:
        return str(values[found[1]]) if found[1] else found[0][0]

    return _PLACE.sub(put, word)


def _environment() -> dict[str, str]:
    """Without the library path, which is for the Python in here."""
    return {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}


def _run(argv: list[str]) -> str:
    """What it prints goes to the job's output as well, but for what it gives as its result."""
    try:
        ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_environment())
    except OSError as error:
        raise CommandFailed(f"{argv[0]} cannot be started: {error.strerror}") from error
    told = ended.stderr.decode(errors="replace")
    print(told, end="")  # noqa: T201 - the job's output
    if ended.returncode:
        how = (
            f"ended with status {ended.returncode}"
            if ended.returncode > 0
            else f"was ended by signal {-ended.returncode}"
        )
        raise CommandFailed(f"{argv[0]} {how}: {told[-STDERR_SHOWN_MAX:].strip()}")
    if len(ended.stdout) > STDOUT_BYTES_MAX:
        raise CommandFailed(f"{argv[0]} printed more than {STDOUT_BYTES_MAX} bytes: use {{{OUTPUT}}}")
    return ended.stdout.decode(errors="replace")
