"""`peer submit command`: a program that workers have, run once for each input."""

import glob
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cli.exits import WrongUse
from cli.inputs import read_items
from cli.item_files import check_files, with_blobs
from cli.job_request import RequestForm
from cli.submit import Prepared
from cli.submit_options import JobOptions
from peer.runtimes.inside.command import OUTPUT, names
from protocol.files import FILE_KEY
from protocol.limits import ITEMS_PER_JOB_MAX

INPUT = "input"
_ALWAYS = frozenset((OUTPUT, "index"))


def command_job(words: Sequence[str], inputs: Sequence[str], lines: Path | None, options: JobOptions) -> Prepared:
    """Everything is checked, and the inputs are found; raises `WrongUse`."""
    if not words:
        raise WrongUse("there is no command: write it after `--`, as in `-- ffmpeg -i {input} {output}.webm`")
    program = words[0]
    if "/" in program or "{" in program:
        raise WrongUse(
            f"the command begins with the name of a program that workers offer, such as ffmpeg, not {program!r}"
        )
    if bool(inputs) == (lines is not None):
        raise WrongUse("either --inputs 'videos/*.mp4' or --map FILE says what the command is run on")
    items, folder = (_mapped(lines), lines.parent) if lines is not None else (_found(inputs), Path())
    _check_names(words, items)
    check_files(items, folder)
    form = RequestForm(f"command:{program}", options, name=program, compare="exact")
    code = json.dumps({"argv": list(words)})
    return Prepared(
        options=options, request=lambda client: form.request(client, code, with_blobs(client, items, folder))
    )


def _found(patterns: Sequence[str]) -> list[object]:
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


def _mapped(lines: Path) -> list[object]:
    items = read_items(lines)
    width = len(str(len(items) - 1))
    return [
        {**(item if isinstance(item, dict) else {"item": item}), "index": number, OUTPUT: f"{number:0{width}}"}
        for number, item in enumerate(items)
    ]


def _check_names(words: Sequence[str], items: Sequence[object]) -> None:
    """Every `{NAME}` must be one that each item has."""
    wanted = {name for word in words for name in names(word)} - _ALWAYS
    for number, item in enumerate(items, 1):
        assert isinstance(item, dict)
        if missing := sorted(wanted - item.keys()):
            there = ", ".join(f"{{{name}}}" for name in sorted(item))
            raise WrongUse(f"the command has {{{missing[0]}}}, which input {number} does not have; it has {there}")
