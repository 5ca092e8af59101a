"""`peer submit wasm`: a WASI module, run once for each line or file."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from cli.console import say
from cli.exits import WrongUse
from cli.inputs import read_items
from cli.item_files import check_files, with_blobs
from cli.item_sources import INPUT, check_names, check_one_source, found_files, output_name
from cli.job_request import RequestForm
from cli.submit import Prepared
from cli.submit_options import JobOptions
from peer.blob_views import TransferRequest
from peer.runtimes.inside.arguments import OUTPUT
from peer.runtimes.inside.wasm import COMPONENT_MAGIC, MODULE_BLOB, MODULE_MAGIC, values_of
from peer.runtimes.inside.wasm_machine import MODULE_BYTES_MAX
from peer.runtimes.wasm import WASM_RUNTIME, WASMTIME_WANTED
from protocol.limits import MIB


def wasm_job(
    module: Path, words: Sequence[str], inputs: Sequence[str], lines: Path | None, fuel: int, options: JobOptions
) -> Prepared:
    """Everything is checked, and the inputs are found; raises `WrongUse`."""
    check_module(module)
    check_one_source(inputs, lines)
    items, folder = (_mapped(lines), lines.parent) if lines is not None else (found_files(inputs), Path())
    argv = list(words) or ([f"{{{INPUT}}}"] if inputs else [])
    check_names(argv, [values_of(item) for item in items])
    check_files(items, folder)
    if not options.runtime_version:
        options = dataclasses.replace(options, runtime_version=WASMTIME_WANTED)
    form = RequestForm(WASM_RUNTIME, options, name=module.stem, compare="exact")
    if form.compare == "verify":
        raise WrongUse("--compare verify is for python jobs: a module has no verify(item, result)")
    form.add_blob((MODULE_BLOB, TransferRequest(action="put", what=str(module.absolute()))))
    code = json.dumps({"name": module.name, "argv": argv, "fuel": fuel})
    return Prepared(
        options=options,
        request=lambda client: form.request(client, code, with_blobs(client, items, folder)),
        finish=lambda _: say_fuel(options.out),
    )


def say_fuel(out: Path) -> None:
    """How much the items have taken, as their results say."""
    with (out / "results.jsonl").open(encoding="utf-8") as lines:
        results = (json.loads(line).get("result") for line in lines)
        taken = [one["fuel"] for one in results if isinstance(one, dict) and isinstance(one.get("fuel"), int)]
    if taken:
        say(f"fuel: {sum(taken):,} in all, {max(taken):,} for the item that took most")


def check_module(path: Path) -> None:
    """Whether it looks like one, in binary or, with the ending .wat, as text; raises `WrongUse`."""
    try:
        with path.open("rb") as file:
            head, size = file.read(len(MODULE_MAGIC)), path.stat().st_size
    except OSError as error:
        raise WrongUse(f"cannot read the module {path}: {error.strerror}") from error
    if size > MODULE_BYTES_MAX:
        raise WrongUse(f"{path} has {size} bytes; a module has at most {MODULE_BYTES_MAX // MIB} MiB")
    if head == COMPONENT_MAGIC:
        raise WrongUse(f"{path} is a component; build it as a module, for wasm32-wasip1")
    if head != MODULE_MAGIC and path.suffix != ".wat":
        raise WrongUse(f"{path} is not a WebAssembly module (text modules have the ending .wat)")


def _mapped(lines: Path) -> list[object]:
    items = read_items(lines)
    return [
        {"item": item, "index": number, OUTPUT: output_name(number, len(items))} for number, item in enumerate(items)
    ]
