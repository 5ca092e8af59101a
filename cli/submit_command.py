"""`peer submit command`: a program that workers have, run once for each input."""

import json
from collections.abc import Sequence
from pathlib import Path

from cli.exits import WrongUse
from cli.inputs import read_items
from cli.item_files import check_files, with_blobs
from cli.item_sources import check_names, check_one_source, found_files, output_name
from cli.job_request import RequestForm
from cli.submit import Prepared
from cli.submit_options import JobOptions
from peer.runtimes.inside.arguments import OUTPUT


def command_job(words: Sequence[str], inputs: Sequence[str], lines: Path | None, options: JobOptions) -> Prepared:
    """Everything is checked, and the inputs are found; raises `WrongUse`."""
    if not words:
        raise WrongUse("there is no command: write it after `--`, as in `-- ffmpeg -i {input} {output}.webm`")
    program = words[0]
    if "/" in program or "{" in program:
        raise WrongUse(
            f"the command begins with the name of a program that workers offer, such as ffmpeg, not {program!r}"
        )
    check_one_source(inputs, lines)
    items, folder = (_mapped(lines), lines.parent) if lines is not None else (found_files(inputs), Path())
    check_names(words, items)
    check_files(items, folder)
    form = RequestForm(f"command:{program}", options, name=program, compare="exact")
    code = json.dumps({"argv": list(words)})
    return Prepared(
        options=options, request=lambda client: form.request(client, code, with_blobs(client, items, folder))
    )


def _mapped(lines: Path) -> list[object]:
    items = read_items(lines)
    return [
        {
            **(item if isinstance(item, dict) else {"item": item}),
            "index": number,
            OUTPUT: output_name(number, len(items)),
        }
        for number, item in enumerate(items)
    ]
