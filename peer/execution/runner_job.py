"""Inside the sandbox: what the runtime has loaded, called on one item after another."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from peer.execution import runner_data
from peer.execution.runner_files import FILE_MARK, FileDoor
from peer.execution.runner_seeds import Seeds
from protocol import encoding
from protocol.errors import BadFrame
from protocol.limits import CHUNK_RESULT_BYTES_MAX, TEXT_LENGTH_MAX, TRACEBACK_LENGTH_MAX

if TYPE_CHECKING:
    from traceback import TracebackException

MODULE_NAME = "job"
_ERROR_NAME_LENGTH_MAX = 200
_CUT = "\n[... cut ...]\n"


class ChunkFailed(BaseException):
    """A chunk that has no result; `kind` is a member name of `protocol.messages.job.FailureKind`.

    Runtimes raise it for what is this machine's fault and not the item's: an error of the item is a result, in which
    honest peers agree. A BaseException, so that a job's own `except Exception` cannot be in its way.
    """

    def __init__(self, kind: str, item: int, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.item, self.detail = kind, item, detail


class Job:
    """One job, loaded once. When loading fails, every item has that error as its outcome."""

    def __init__(self, job: str, load: Callable[[], Callable[[object], object]], files: FileDoor) -> None:
        self._seeds = Seeds(job)
        self._files = files
        self._load_failure: ChunkFailed | None = None
        try:
            self._outcome_of = outcome_function(load, files.give)
        except MemoryError:
            self._load_failure = ChunkFailed("MEMORY", 0, "out of memory while the job file was loaded")
        except ChunkFailed as failure:
            self._load_failure = failure

    def run_chunk(self, payload: bytes, start_item: Callable[[int], None]) -> bytes:
        """Canonical CBOR of the outcomes; raises `ChunkFailed` for want of memory or a result that is too large."""
        if self._load_failure is not None:
            raise self._load_failure
        items = _items(payload)
        seen = self._files.placed(items) if FILE_MARK in payload else items
        outcomes = []
        size_bytes = 0
        for index, item in enumerate(items):
            start_item(index)
            self._seeds.start_item(partial(runner_data.encode_item, item))
            try:
                outcome = self._outcome(index, seen[index])
            except ChunkFailed as failure:
                raise ChunkFailed(failure.kind, index, failure.detail) from failure
            size_bytes += len(outcome)
            if size_bytes > CHUNK_RESULT_BYTES_MAX - runner_data.LIST_HEAD_BYTES_MAX:
                raise ChunkFailed("TOO_LARGE", index, f"the results of a chunk may have {CHUNK_RESULT_BYTES_MAX} bytes")
            outcomes.append(outcome)
        return runner_data.join_outcomes(outcomes)

    def _outcome(self, index: int, item: object) -> bytes:
        try:
            return self._outcome_of(item)
        except MemoryError as error:
            raise ChunkFailed("MEMORY", index, f"out of memory: {str(error)[:200] or 'MemoryError'}") from None


def _items(payload: bytes) -> list[object]:
    try:
        return runner_data.decode_items(payload)
    except BadFrame as error:
        raise ChunkFailed("CRASHED", 0, f"the input of the chunk is not data: {error}") from error
    except ImportError as error:
        raise ChunkFailed("ENVIRONMENT", 0, f"the chunk has arrays in it, and {error}") from error


def outcome_function(
    load: Callable[[], Callable[[object], object]], give: runner_data.GiveFile = runner_data.no_files
) -> Callable[[object], bytes]:
    """What makes an outcome of an item, with the function that `load` gives.

    Raises only `MemoryError`, and the `ChunkFailed` of a runtime.
    """
    try:
        function = load()
    except (MemoryError, ChunkFailed):
        raise
    except BaseException as error:  # noqa: BLE001 - foreign code: whatever it raises is the outcome of every item
        outcome = _error_outcome(error)
        return lambda _: outcome
    return partial(outcome_of, function, give=give)


def outcome_of(
    function: Callable[[object], object], item: object, *, give: runner_data.GiveFile = runner_data.no_files
) -> bytes:
    """Canonical CBOR of an item's outcome.

    Raises only `MemoryError`, since how much there is, is not the job's doing, and the `ChunkFailed` of a runtime.
    """
    try:
        return runner_data.encode_value(function(item), give)
    except (MemoryError, ChunkFailed):
        raise
    except BaseException as error:  # noqa: BLE001 - foreign code: whatever it raises is its outcome
        return _error_outcome(error)


def load_function(module: ModuleType, filename: str, code: bytes, entry: str) -> Callable[[object], object]:
    """Run a job file as `module`; its function. Raises whatever the file raises."""
    source = code.decode("utf-8-sig")
    module.__file__ = filename
    module.__dict__["__loader__"] = _Source(source)
    exec(compile(source, filename, "exec"), module.__dict__)
    function = getattr(module, entry, None)
    if not callable(function):
        what = f"defines no function '{entry}'" if function is None else f"has a '{entry}' that is not a function"
        raise AttributeError(f"{filename} {what}; define `def {entry}(item):` in it")
    return function  # type: ignore[no-any-return]


class _Source:
    """Where tracebacks (through `linecache`) and `inspect` find the lines of the job file."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, _name: str) -> str:
        """PEP 302."""
        return self._source


def _error_outcome(error: BaseException) -> bytes:
    """Canonical CBOR of `[false, type, message, traceback]`, the traceback from the job's own frames on.

    Reading a foreign exception runs foreign code too; nothing that it does may stop us.
    """
    try:
        message, trace = str(error), _traceback(error)
    except BaseException as second:  # noqa: BLE001 - see above
        message, trace = f"the error cannot be shown: {type(second).__name__}", ""
    name = type(error).__name__
    if isinstance(error, runner_data.NotData):
        name, trace = "TypeError", ""
    lengths = (_ERROR_NAME_LENGTH_MAX, TEXT_LENGTH_MAX, TRACEBACK_LENGTH_MAX)
    return encoding.encode([False, *map(_clean, (name, message, trace), lengths)])


def _traceback(error: BaseException) -> str:
    from traceback import TracebackException

    shown = TracebackException.from_exception(error, compact=True)
    for one in _chain(shown):
        ours = [number for number, frame in enumerate(one.stack) if frame.filename == __file__]
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
