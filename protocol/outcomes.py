"""The result of a chunk: one outcome per item, as canonical CBOR; and how two results are compared.

An outcome is `[true, value]` or `[false, error type, message, traceback]`. Messages and tracebacks may
differ honestly between machines (paths, addresses in memory), so the comparison key leaves them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol import encoding
from protocol.arrays import array_hook
from protocol.errors import BadFrame
from protocol.files import FILE_MARK, FileRef, files_in
from protocol.ids import digest
from protocol.limits import RESULT_FILE_BYTES_MAX, RESULT_FILES_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: a value, or the error that the function raised."""

    ok: bool
    value: object = None
    error: str = ""
    message: str = ""
    traceback: str = ""


def decode_outcomes(data: bytes, count: int) -> list[Outcome]:
    """Typed outcomes of a chunk with `count` items; raises `BadFrame` for anything else."""
    value = encoding.decode(data, array_hook)
    if not isinstance(value, list) or len(value) != count:
        raise BadFrame(f"a result must be a list of {count} outcomes")
    return [_outcome(one) for one in value]


def files_of(data: bytes, outcomes: Sequence[Outcome]) -> tuple[FileRef, ...]:
    """The files that a result names, decoded to these outcomes; raises `BadFrame` for bad or too large ones."""
    if FILE_MARK not in data:
        return ()
    files = tuple(files_in([one.value for one in outcomes]))
    sizes = [file.size_bytes for file in files]
    if max(sizes, default=0) > RESULT_FILE_BYTES_MAX or sum(sizes) > RESULT_FILES_BYTES_MAX:
        raise BadFrame(
            f"the files of a result have at most {RESULT_FILE_BYTES_MAX} bytes each, {RESULT_FILES_BYTES_MAX} together"
        )
    return files


def comparison_key(data: bytes) -> bytes:
    """The digest by which two results of a chunk are equal (comparator `exact`); raises `BadFrame`."""
    value = encoding.decode(data, lambda tag, _: tag)
    if not isinstance(value, list):
        raise BadFrame("a result must be a list of outcomes")
    if all(isinstance(one, list) and one[:1] == [True] for one in value):
        return digest(data)
    return digest(encoding.encode([one[:2] if isinstance(one, list) else one for one in value]))


def _outcome(value: object) -> Outcome:
    match value:
        case [True, result]:
            return Outcome(ok=True, value=result)
        case [False, str(error), str(message), str(traceback)]:
            return Outcome(ok=False, error=error, message=message, traceback=traceback)
    raise BadFrame("an outcome must be [true, value] or [false, error, message, traceback]")
