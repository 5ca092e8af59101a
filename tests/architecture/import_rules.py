"""Rules about imports: direction of the layers, foreign packages in their rooms, no cycles."""

import ast
import graphlib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

from source_tree import FOLDERS, Source, imports

MAY_IMPORT = {
    "protocol": {"protocol"},
    "dht": {"protocol", "dht"},
    "peer": {"protocol", "dht", "peer"},
    "cli": {"protocol", "dht", "peer", "cli"},
    "simulations": {"protocol", "dht", "peer", "simulations"},
}

_OUTSIDE_WORLD = {
    "asyncio",
    "libp2p",
    "multiprocessing",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "uuid",
}
BANNED_MODULES = {
    "protocol": _OUTSIDE_WORLD | {"datetime", "os", "pathlib", "select", "shutil", "tempfile", "time", "trio"},
    "dht": _OUTSIDE_WORLD | {"datetime", "os", "pathlib", "select", "shutil", "tempfile", "time"},
    "peer": {"asyncio"},
    "cli": {"asyncio", "libp2p"},
    "simulations": {"asyncio", "libp2p", "secrets", "socket", "subprocess"},
}
# `peer simulate` is one command among many: what the simulator needs is loaded when it is asked for, never before.
SIMULATE_ROOM = "cli/simulate*.py"
LIBP2P_ROOM = ("peer/libp2p_host.py", "peer/libp2p_fixes*.py")


def wrong_direction(source: Source) -> Iterator[str]:
    """Imports against the arrows of DESIGN section 2."""
    for found in imports(source):
        top = found.module.split(".")[0]
        if top == "simulations" and fnmatch(source.path, SIMULATE_ROOM):
            if found.node in source.tree.body:
                yield source.at(found.node, "cli imports simulations inside of functions, or for types alone")
        elif top in (*FOLDERS, "tests") and top not in MAY_IMPORT[source.folder]:
            yield source.at(found.node, f"{source.folder} must not import {top}")


def banned_modules(source: Source) -> Iterator[str]:
    """Foreign packages outside their room."""
    for found in imports(source):
        top = found.module.split(".")[0]
        if top in BANNED_MODULES[source.folder]:
            yield source.at(found.node, f"{source.folder} must not import {top}")
        elif top == "libp2p" and not any(fnmatch(source.path, room) for room in LIBP2P_ROOM):
            yield source.at(found.node, "only peer/libp2p_host.py and peer/libp2p_fixes*.py import libp2p")


def cycle(files: Iterable[Source]) -> list[str]:
    """The modules of an import cycle, or nothing."""
    by_module = {source.module: source for source in files}
    graph = {module: _depends_on(source, by_module.keys()) for module, source in by_module.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _depends_on(source: Source, known: Iterable[str]) -> set[str]:
    known = set(known)
    for_types = _lines_for_types(source)
    real = [one for one in imports(source) if one.node.lineno not in for_types]
    found = {one.dotted if one.dotted in known else one.module for one in real}
    return (found & known) - {source.module}


def _lines_for_types(source: Source) -> set[int]:
    """Lines under `if TYPE_CHECKING`: nothing is imported there when the program runs."""
    blocks = [node for node in ast.walk(source.tree) if isinstance(node, ast.If)]
    return {
        inner.lineno
        for block in blocks
        if ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for inner in ast.walk(statement)
        if isinstance(inner, ast.stmt)
    }
