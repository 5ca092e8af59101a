"""Check what a user submits, before anything starts: the job file, the inputs, the folder for the results.

Every error is one line that names the file and the line in it. The job file is parsed, never run: it
runs on workers, inside their sandboxes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cli.exits import WrongUse
from peer.control_client import REQUEST_SIZE_BYTES_MAX
from protocol.limits import CODE_SIZE_BYTES_MAX, ITEM_SIZE_BYTES_MAX, ITEMS_PER_JOB_MAX, KIB, MIB

_NO_RUN = (
    "has no function `run` at its top level; add `def run(item): ...`, which is called once for each line of --map"
)

_VERIFY_FORM = "`def verify(item, result): ...`, which says whether a result is right"


def read_job_file(path: Path) -> str:
    """The source of a job file that defines `run(item)`; raises `WrongUse`."""
    data = _read(path, "the job file")
    if len(data) > CODE_SIZE_BYTES_MAX:
        raise WrongUse(f"{path} has {len(data)} bytes; a job file may have {CODE_SIZE_BYTES_MAX // KIB} KiB at most")
    try:
        tree = ast.parse(data, filename=str(path))
    except SyntaxError as error:
        raise WrongUse(f"{path}:{error.lineno or 1}: {error.msg}") from error
    except ValueError as error:
        raise WrongUse(f"{path} is not Python source: {error}") from error
    _check_entry(path, tree)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongUse(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error


def check_has_verify(path: Path, code: str) -> None:
    """For `--compare verify`: the file, read by `read_job_file`, defines the check as well; raises `WrongUse`."""
    for statement in _top_level(ast.parse(code).body):
        match statement:
            case ast.FunctionDef(name="verify", args=arguments):
                if len(arguments.posonlyargs + arguments.args) < 2 and arguments.vararg is None:
                    raise WrongUse(f"{path}:{statement.lineno}: `verify` must take item and result: {_VERIFY_FORM}")
                return
            case _ if "verify" in _names_bound(statement):
                return
    raise WrongUse(
        f"{path} has no function `verify` at its top level, which --compare verify needs; add {_VERIFY_FORM}"
    )


def read_items(path: Path) -> list[object]:
    """The inputs: one JSON value per line; raises `WrongUse` with the line at fault."""
    lines = _read(path, "the input file").removeprefix(b"\xef\xbb\xbf").rstrip().split(b"\n")
    if lines == [b""]:
        raise WrongUse(f"{path} is empty; it needs one JSON value per line, one line per item")
    if len(lines) > ITEMS_PER_JOB_MAX:
        raise WrongUse(f"{path} has {len(lines)} lines; a job may have {ITEMS_PER_JOB_MAX} items at most")
    return [_item(path, number, line) for number, line in enumerate(lines, 1)]


def prepare_out(path: Path, *, force: bool) -> None:
    """Make the folder for the results; raises `WrongUse` when it holds something and `force` is not given."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        used = any(path.iterdir())
    except OSError as error:
        raise WrongUse(f"cannot use {path} for the results: {error.strerror}; choose another with --out") from error
    if used and not force:
        raise WrongUse(
            f"{path} is not empty; choose another folder with --out, or add --force to write over results in it"
        )


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(REQUEST_SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise WrongUse(f"cannot read {what} {path}: {error.strerror}") from error
    if len(data) > REQUEST_SIZE_BYTES_MAX:
        raise WrongUse(f"{path} is larger than {REQUEST_SIZE_BYTES_MAX // MIB} MiB; split it into several jobs")
    return data


def _item(path: Path, number: int, line: bytes) -> object:
    if len(line) > ITEM_SIZE_BYTES_MAX:
        raise WrongUse(
            f"{path}:{number}: {len(line)} bytes; one item may have {ITEM_SIZE_BYTES_MAX // MIB} MiB at most"
        )
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = repr(line[:40].decode(errors="replace").strip()) if line.strip() else "an empty line"
        raise WrongUse(f"{path}:{number}: not JSON: {shown} ({error})") from error


def _check_entry(path: Path, tree: ast.Module) -> None:
    for statement in _top_level(tree.body):
        match statement:
            case ast.AsyncFunctionDef(name="run"):
                raise WrongUse(f"{path}:{statement.lineno}: `run` must be a plain function, without async")
            case ast.FunctionDef(name="run", args=arguments):
                if not arguments.posonlyargs + arguments.args and arguments.vararg is None:
                    raise WrongUse(f"{path}:{statement.lineno}: `run` must take the item: `def run(item): ...`")
                return
            case _ if "run" in _names_bound(statement):
                return
    raise WrongUse(f"{path} {_NO_RUN}")


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the file is loaded, those under `if`, `try` and `with` too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(statement, part, []):
                    yield from _top_level(child.body if isinstance(child, ast.ExceptHandler) else [child])


def _names_bound(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {one.asname or one.name for one in names}
        case ast.Assign(targets=targets):
            return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()
