"""Inside the sandbox: a WASI module, compiled once, and run in a fresh instance for each item.

The job's code is JSON: `{"name": ..., "argv": [...], "fuel": N}`; the module is the job's blob `MODULE`. An item is a
dict of values for the arguments. What it has as `item` is standard input, text as it is, all else as JSON; what that
has in turn are values as well. Its files lie, read-only, below `/inputs`; `/output` takes files. The result is
`{"fuel": ..., "output": what it printed}`, with `"files"` where it wrote some.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer.runtimes.inside.arguments import OUTPUT, empty_out, files_in_out, filled, gives_files
from peer.runtimes.inside.wasm_machine import INPUTS, Call, ExitStatus, Machine, memory_limit

MODULE_BLOB = "MODULE"
MODULE_MAGIC = b"\0asm\1\0\0\0"
COMPONENT_MAGIC = b"\0asm\x0d\0\1\0"
FUEL_PER_ITEM_DEFAULT = 100_000_000_000
"""Some minutes of computing. About one unit for each instruction of the module."""
FUEL_PER_ITEM_MAX = 2**63 - 1


def load(job: dict[str, Any]) -> Callable[[Any], object]:
    """The function that runs the module of the job; raises `BadModule`."""
    order = json.loads(job["code"])
    module = Path(os.environ[f"PEER_BLOB_{MODULE_BLOB}"]).read_bytes()
    machine = Machine(module, memory_limit(job["memory_bytes_max"]))
    words: list[str] = order["argv"]
    is_for_files = gives_files(words)

    def run(item: Any) -> object:
        values, folders = with_guest_paths(item if isinstance(item, dict) else {"item": item})
        arguments = {**values_of(values), OUTPUT: f"/{OUTPUT}/{values.get(OUTPUT, OUTPUT)}"}
        call = Call([order["name"], *(filled(word, arguments) for word in words)], stdin_of(values), folders)
        empty_out()
        result = machine.run(call, order["fuel"], call.seed(job["job"]))
        files = files_in_out()
        if is_for_files and not files:
            raise ExitStatus(f"{order['name']} wrote no file at {{{OUTPUT}}}")
        return {**result, "files": files} if files else result

    return run


def values_of(item: Any) -> dict[str, Any]:
    """What arguments may name: the values of an item, and before them what its line has."""
    line = item.get("item")
    return {**line, **item} if isinstance(line, dict) else item


def with_guest_paths(values: dict[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """The values with the paths that the module sees, and the folders behind `/inputs/0`, `/inputs/1`, ...

    They are numbered within the item: where the item stands in its chunk shall not be seen.
    """
    folders: list[Path] = []

    def walk(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: walk(each) for key, each in one.items()}
        if isinstance(one, list):
            return [walk(each) for each in one]
        if not isinstance(one, Path):
            return one
        folders.append(one.parent)
        return f"{INPUTS}/{len(folders) - 1}/{one.name}"

    return walk(values), folders


def stdin_of(values: dict[str, Any]) -> bytes:
    """What the module reads: the item as text, else as JSON with its keys in order."""
    item = values.get("item", "")
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, sort_keys=True)
    return text.encode()
