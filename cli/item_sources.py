"""What a program is run on: files that are found by patterns, or lines; and the names in its arguments."""

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cli.exits import WrongUse
from peer.runtimes.inside.arguments import OUTPUT, names
from protocol.files import FILE_KEY
from protocol.limits import ITEMS_PER_JOB_MAX

INPUT = "input"
_ALWAYS = frozenset((OUTPUT, "index"))


def check_one_source(inputs: Sequence[str], lines: Path | None) -> None:
    """Whether there is one of the two; raises `WrongUse`."""
    if bool(inputs) == (lines is not None):
        raise WrongUse("either --inputs 'videos/*.mp4' or --map FILE says what the job is run on")


def found_files(patterns: Sequence[str]) -> list[object]:
    """An item for each file, in the order of their names; those of the results come from theirs."""
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(Path(one) for one in glob.glob(pattern, recursive=True) if Path(one).is_file())  # noqa: PTH207
        if not found:
            raise WrongUse(f"--inputs: no file is called {pattern!r}")
        paths += found
    if len(paths) > ITEMS_PER_JOB_MAX:
        raise WrongUse(f"--inputs: {len(paths)} files; a job has at most {ITEMS_PER_JOB_MAX} items")
    stems = Counter(path.stem for path in paths)
    twice = {stem for stem, number in stems.items() if number > 1}
    return [
        {
            INPUT: {FILE_KEY: str(path.absolute())},
            "name": path.name,
            "stem": path.stem,
            "index": number,
            OUTPUT: f"{path.stem}-{number}" if path.stem in twice else path.stem,
        }
        for number, path in enumerate(paths)
    ]


def output_name(number: int, count: int) -> str:
    """What the result of a line is called: its number, so that names are in the order of the lines."""
    return f"{number:0{len(str(count - 1))}}"


def check_names(words: Sequence[str], items: Sequence[object]) -> None:
    """Every `{NAME}` must be one that each item has; raises `WrongUse`."""
    wanted = {name for word in words for name in names(word)} - _ALWAYS
    for number, item in enumerate(items, 1):
        assert isinstance(item, dict)
        if missing := sorted(wanted - item.keys()):
            there = ", ".join(f"{{{name}}}" for name in sorted(item))
            raise WrongUse(f"the command has {{{missing[0]}}}, which input {number} does not have; it has {there}")
