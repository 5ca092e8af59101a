"""Inside the sandbox: a program, run once for each item, with the item's values and files in its arguments.

The job's code is JSON: `{"argv": [...]}`. `{NAME}` in an argument stands for the item's value of that name, for a file
its path; `{output}` for a path in an empty folder, whose files are the result. Without `{output}` the result is what
the program prints.
"""

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

from peer.runtimes.inside.arguments import (
    OUT,
    OUTPUT,
    STDERR_SHOWN_MAX,
    STDOUT_BYTES_MAX,
    empty_out,
    files_in_out,
    filled,
    gives_files,
)


class CommandFailed(RuntimeError):
    """The program ended with another status than 0."""


def load(job: dict[str, Any]) -> Callable[[Any], object]:
    """The function that runs the program of the job."""
    argv: list[str] = json.loads(job["code"])["argv"]
    is_for_files = gives_files(argv)

    def run(item: Any) -> object:
        values = item if isinstance(item, dict) else {"item": item}
        empty_out()
        output = OUT / str(values.get(OUTPUT, OUTPUT))
        ended = _run([filled(word, {**values, OUTPUT: output}) for word in argv])
        if not is_for_files:
            return ended
        files = files_in_out()
        if not files:
            raise CommandFailed(f"{argv[0]} wrote no file at {{{OUTPUT}}}")
        return files if len(files) > 1 else files[0]

    return run


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
