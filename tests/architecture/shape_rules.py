"""Rules about the shape of the code: lengths, docstrings, no state in modules, nothing of this machine."""

import ast
import re
from collections.abc import Iterator

from source_tree import Source

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 400

# In two parts each, so that this file does not name what it looks for.
_HOSTS = (
    ("pypi", "org"), ("pythonhosted", "org"), ("deb.debian", "org"), ("archive.ubuntu", "com"), ("npmjs", "org"),
    ("crates", "io"), ("proxy.golang", "org"),
)  # fmt: skip
_FOREIGN = re.compile("|".join(re.escape(".".join(parts)) for parts in _HOSTS))

_CONTAINERS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "ChainMap"}
_STATEFUL = {
    "count", "cycle", "Lock", "Event", "Condition", "Semaphore", "CapacityLimiter", "Queue", "Random", "SystemRandom",
    "ContextVar", "WeakValueDictionary", "WeakKeyDictionary", "WeakSet", "iter", "open_memory_channel",
}  # fmt: skip
_MUTATORS = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "appendleft", "clear",
    "remove", "discard", "sort", "reverse",
}  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_functions(source: Source) -> Iterator[str]:
    """Functions over 70 lines."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function) and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX:
            yield source.at(node, f"{node.name} has {lines} lines; at most {FUNCTION_LINES_MAX}")


def long_file(source: Source) -> Iterator[str]:
    """Files over 400 lines."""
    if (lines := source.text.count("\n")) > FILE_LINES_MAX:
        yield f"{source.path}: {lines} lines; at most {FILE_LINES_MAX}"


def missing_docstrings(source: Source) -> Iterator[str]:
    """Modules, and public classes, functions and methods, without a docstring."""
    if not ast.get_docstring(source.tree):
        yield f"{source.path}:1: the module has no docstring"
    for node in source.tree.body:
        yield from _undocumented(source, node)


def _undocumented(source: Source, node: ast.stmt) -> Iterator[str]:
    if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_") or _is_variant(node):
        return
    if not ast.get_docstring(node):
        yield source.at(node, f"{node.name} is public and has no docstring")
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            yield from _undocumented(source, inner)


def _is_variant(node: Function | ast.ClassDef) -> bool:
    """Overloads, property setters and overriding methods say nothing new."""
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(names & {"overload", "override", "setter", "deleter"})


def module_state(source: Source) -> Iterator[str]:
    """What a module keeps and changes: ten thousand peers share one process."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            yield source.at(node, f"global {', '.join(node.names)}")
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in ("functools.cache", "cache"):
            yield source.at(node, "an unbounded cache; use lru_cache with a size")
    for statement in source.tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            yield from _state(source, statement, statement.value)


def _state(source: Source, statement: ast.Assign | ast.AnnAssign, value: ast.expr) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    name = ast.unparse(targets[0])
    if name == "__all__":
        return
    called = ast.unparse(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    if called in _STATEFUL:
        yield source.at(statement, f"{name} is state that all peers of a process would share")
    if called in _CONTAINERS or isinstance(
        value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    ):
        if not name.isupper():
            yield source.at(statement, f"{name} may be changed; a constant is written in capitals and never changed")
        elif name in _changed(source.tree):
            yield source.at(statement, f"{name} is changed")


def _changed(tree: ast.Module) -> set[str]:
    """Names whose items are set or deleted, or that get a mutating call."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found.add(ast.unparse(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
            found.add(ast.unparse(node.func.value))
        elif isinstance(node, ast.AugAssign):
            found.add(ast.unparse(node.target))
    return found


def foreign_names(path: str, text: str) -> Iterator[str]:
    """Hosts of package registries, in any tracked file."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _FOREIGN.search(line):
            yield f"{path}:{number}: names {match[0]}"
