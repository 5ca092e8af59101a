"""What the architecture tests read: every Python file of the project, parsed once.

The rules are functions from a `Source` to complaints, so that each can be shown a bad snippet.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("protocol", "dht", "peer", "cli", "simulations")


@dataclass(frozen=True)
class Source:
    """One file: its path from the root, with forward slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, self.path)

    @property
    def folder(self) -> str:
        """The top-level folder."""
        return self.path.split("/", 1)[0]

    @property
    def module(self) -> str:
        """The dotted name under which the file is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """What a relative import starts from."""
        return self.module if self.path.endswith("__init__.py") else self.module.rpartition(".")[0]

    def at(self, node: ast.stmt | ast.expr | ast.ExceptHandler, complaint: str) -> str:
        """A complaint with its place."""
        return f"{self.path}:{node.lineno}: {complaint}"


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """The files of these top-level folders, sorted."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths)


@dataclass(frozen=True)
class Import:
    """One imported module and, for `from module import name`, the name."""

    node: ast.stmt
    module: str
    name: str | None = None

    @property
    def dotted(self) -> str:
        """The module, and the name where there is one."""
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(source: Source) -> Iterator[Import]:
    """Every import, those inside of functions too; relative ones resolved."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (Import(node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = source.package.split(".")[: len(source.package.split(".")) - node.level + 1]
            base = ".".join([*parts, *([node.module] if node.module else [])]) if node.level else str(node.module)
            yield from (Import(node, base, alias.name) for alias in node.names)


@cache
def aliases(source: Source) -> dict[str, str]:
    """Local name -> dotted name, for all that is imported."""
    found: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (alias.asname and alias.name) or alias.name.split(
                    "."
                )[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def references(source: Source) -> Iterator[tuple[ast.expr, str]]:
    """Every use of an imported name, dotted as far as it goes: `t.time` after `import time as t` is time.time."""
    known = aliases(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name):
            dotted = _dotted(node, known)
            if dotted is not None:
                yield node, dotted


def dotted_call(node: ast.Call, source: Source) -> str | None:
    """The dotted name of what is called; builtins by their bare name."""
    return _dotted(node.func, aliases(source)) or (node.func.id if isinstance(node.func, ast.Name) else None)


def _dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, known)
        return f"{base}.{node.attr}" if base else None
    return None
