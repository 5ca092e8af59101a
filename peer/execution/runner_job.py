"""Inside the sandbox: the job file as a module, and its function called on one item after another."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from peer.execution import runner_data
from peer.execution.runner_seeds import Seeds
from protocol import encoding
from protocol.limits import CHUNK_RESULT_BYTES_MAX, TEXT_LENGTH_MAX, TRACEBACK_LENGTH_MAX

if TYPE_CHECKING:
    from traceback import TracebackException

_MODULE_NAME = "job"
_CUT = "\n[... cut ...]\n"


class ChunkFailed(BaseException):
    """A chunk that has no result; `kind` is a member name of `protocol.messages.job.FailureKind`.

    A BaseException, so that a job's own `except Exception` cannot be in its way.
    """

    def __init__(self, kind: str, item: int, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.item, self.detail = kind, item, detail


class _Source:
    """Where tracebacks (through `linecache`) and `inspect` find the lines of the job file."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, _name: str) -> str:
        """PEP 302."""
        return self._source


class Job:
    """One job file, loaded once. When loading fails, every item has that error as its outcome."""

    def __init__(self, job: str, filename: str, code: bytes, entry: str) -> None:
        self._filename = filename
        self._seeds = Seeds(job)
        self._function: Callable[[object], object] | None = None
        self._load_outcome = b""
        self._out_of_memory = False
        try:
            self._function = self._load(code, entry)
        except MemoryError:
            self._out_of_memory = True
        except BaseException as error:  # noqa: BLE001 - foreign code: whatever it raises is its outcome
            self._load_outcome = self._error_outcome(error)

    def run_chunk(self, payload: bytes, start_item: Callable[[int], None]) -> bytes:
        """Canonical CBOR of the outcomes; raises `ChunkFailed` for want of memory or a result that is too large."""
        if self._out_of_memory:
            raise ChunkFailed("MEMORY", 0, "out of memory while the job file was loaded")
        items = runner_data.decode_items(payload)
        outcomes = [_array_header(len(items))]
        size = len(outcomes[0])
        for index, item in enumerate(items):
            start_item(index)
            outcome = self._outcome(index, item)
            size += len(outcome)
            if size > CHUNK_RESULT_BYTES_MAX:
                raise ChunkFailed("TOO_LARGE", index, f"the results of a chunk may have {CHUNK_RESULT_BYTES_MAX} bytes")
            outcomes.append(outcome)
        return b"".join(outcomes)

    def _outcome(self, index: int, item: object) -> bytes:
        if self._function is None:
            return self._load_outcome
        try:
            self._seeds.start_item(lambda: runner_data.encode_item(item))
            return runner_data.encode_value(self._function(item))
        except MemoryError as error:
            raise ChunkFailed("MEMORY", index, f"out of memory: {str(error)[:200] or 'MemoryError'}") from None
        except BaseException as error:  # noqa: BLE001 - foreign code: whatever it raises is its outcome
            return self._error_outcome(error)

    def _load(self, code: bytes, entry: str) -> Callable[[object], object]:
        source = code.decode("utf-8-sig")
        module = ModuleType(_MODULE_NAME)
        module.__file__ = self._filename
        module.__dict__["__loader__"] = _Source(source)
        sys.modules[_MODULE_NAME] = module
        exec(compile(source, self._filename, "exec"), module.__dict__)
        function = getattr(module, entry, None)
        if not callable(function):
            what = f"defines no function '{entry}'" if function is None else f"has a '{entry}' that is not a function"
            raise AttributeError(f"{self._filename} {what}; define `def {entry}(item):` in it")
        return function  # type: ignore[no-any-return]

    def _error_outcome(self, error: BaseException) -> bytes:
        """Reading a foreign exception runs foreign code too; nothing that it does may stop us."""
        try:
            message, trace = str(error), self._traceback(error)
        except BaseException as second:  # noqa: BLE001 - see above
            message, trace = f"the error cannot be shown: {type(second).__name__}", ""
        name = type(error).__name__
        if isinstance(error, runner_data.NotData):
            name, trace = "TypeError", ""
        return encoding.encode(
            [False, _clean(name, 200), _clean(message, TEXT_LENGTH_MAX), _clean(trace, TRACEBACK_LENGTH_MAX)]
        )

    def _traceback(self, error: BaseException) -> str:
        from traceback import TracebackException

        shown = TracebackException.from_exception(error, compact=True)
        for one in _chain(shown):
            ours = [n for n, frame in enumerate(one.stack) if frame.filename == __file__]
            if ours:
                del one.stack[: ours[-1] + 1]
        return "".join(shown.format())


def _chain(first: "TracebackException") -> list["TracebackException"]:
    """The error and those that led to it."""
    found: list[TracebackException] = []
    queue = [first]
    while queue:
        one = queue.pop()
        if not any(one is other for other in found):
            found.append(one)
            queue += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
    return found


def _clean(text: str, length_max: int) -> str:
    """Well-formed and bounded: the beginning and the end are what helps."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= length_max:
        return text
    half = (length_max - len(_CUT)) // 2
    return text[:half] + _CUT + text[-half:]


def _array_header(length: int) -> bytes:
    """The CBOR head of a list (RFC 8949, section 3), so that outcomes can be encoded one by one."""
    if length < 24:
        return bytes([0x80 | length])
    if length < 0x100:
        return bytes([0x98, length])
    return b"\x99" + length.to_bytes(2, "big")
