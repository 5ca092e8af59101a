"""Where the command writes: answers on standard output, progress and complaints on standard error."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Wide enough that no id, path or command line is cut when the output goes to a file.
WIDTH_WITHOUT_TERMINAL = 200


def out() -> "Console":
    """The console for answers. Nothing in them is markup: names and errors come from other people."""
    return _console(stderr=False)


def err() -> "Console":
    """The console for progress and complaints."""
    return _console(stderr=True)


def show(what: "RenderableType") -> None:
    """Print an answer."""
    out().print(what)


def say(text: str) -> None:
    """One line on standard error, at once."""
    print(clean(text), file=sys.stderr, flush=True)  # noqa: T201 - this is where the command speaks


def print_json(value: object) -> None:
    """An answer for programs: one JSON document on one line."""
    write_lines([msgspec.json.encode(value)])


def write_lines(lines: Iterable[bytes]) -> None:
    """Lines of bytes on standard output, flushed."""
    sys.stdout.flush()
    for line in lines:
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def clean(text: str) -> str:
    """Text of somebody else without control characters: they could rewrite what the terminal shows."""
    return "".join(one if one.isprintable() or one in "\n\t" else "�" for one in text)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console
