"""What a runtime needs, where it lies on this machine: for a sandbox that cannot show files at other places.

The runner's program is laid out in a folder of links, so that the folders around the real files stay closed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from peer.execution.interpreter import LOADER_AT, PROGRAM_AT, Inside

_MAIN = PROGRAM_AT / "peer" / "execution" / "landlock_main.py"


@dataclass(frozen=True, slots=True)
class InPlace:
    """The same with the places of this machine, and all that must be readable for it."""

    inside: Inside
    readable: tuple[Path, ...]


def in_place(inside: Inside, program: Path, python: Path | None = None) -> InPlace:
    """Make the folder `program` and say what to start; `python` takes the place of this peer's own.

    Raises `OSError` when the folder cannot be made.
    """
    binds = [*inside.interpreter.binds, (inside.loader, LOADER_AT), *inside.binds, *_further_files()]
    _lay_out(program, binds)
    outside = {target: source for source, target in binds}

    def place(text: str) -> str:
        path = Path(text)
        if path.is_relative_to(PROGRAM_AT):
            return str(program / path.relative_to(PROGRAM_AT))
        found = next((one for one in (path, *path.parents) if one in outside), None)
        return text if found is None else str(outside[found] / path.relative_to(found))

    interpreter = inside.interpreter
    first = str(python or place(interpreter.command[0]))
    there = replace(
        interpreter,
        command=(first, *interpreter.command[1:-1], place(str(_MAIN))),
        environment=tuple((name, place(value)) for name, value in interpreter.environment),
        packages=tuple(map(place, interpreter.packages)),
    )
    sources = [source for source, _ in binds if python is None or source not in _of_python(inside)]
    readable = (program, Path(first), *sources, *interpreter.package_folders)
    variables = tuple((name, place(value)) for name, value in inside.environment)
    return InPlace(replace(inside, interpreter=there, environment=variables), readable)


def _further_files() -> list[tuple[Path, Path]]:
    """What only this kind of sandbox runs inside."""
    here = Path(__file__).resolve().parent
    return [(here / name, _MAIN.with_name(name)) for name in (_MAIN.name, "landlock_wall.py")]


def _of_python(inside: Inside) -> set[Path]:
    """The interpreter and its library."""
    prefix = Path(inside.interpreter.command[0]).parent.parent
    return {source for source, target in inside.interpreter.binds if target.is_relative_to(prefix)}


def _lay_out(program: Path, binds: list[tuple[Path, Path]]) -> None:
    for source, target in binds:
        if target.is_relative_to(PROGRAM_AT):
            link = program / target.relative_to(PROGRAM_AT)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
