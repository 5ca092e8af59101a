"""Write what a job gave: results.jsonl with one line per input line, and report.json."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from cli.exits import DONE, FAILED, INTERRUPTED, NO_WORKER
from cli.text import short_peer
from peer.views import JobState, JobView, ResultLine
from protocol.errors import LocalError

RESULTS_NAME = "results.jsonl"
REPORT_NAME = "report.json"
FAILURES_SHOWN_MAX = 5
OK_WITHIN_BYTES = 60
_NOT_RUN = {
    JobState.CANCELLED: "not run: the job was cancelled",
    JobState.INTERRUPTED: "not run: the peer stopped while the job ran",
}


def exit_code(job: JobView) -> int:
    """What the end of a job means to the shell."""
    match job.state:
        case JobState.DONE:
            return FAILED if job.items_failed else DONE
        case JobState.CANCELLED:
            return INTERRUPTED
        case JobState.FAILED if not job.items_done and not job.funnel.awarded:
            return NO_WORKER
    return FAILED


def write_results(folder: Path, job: JobView, lines: Iterable[bytes]) -> None:
    """Both files, each whole or not at all; raises `LocalError` when the disk refuses."""
    _write(folder / RESULTS_NAME, job, _every_item(job, lines))
    _write(folder / REPORT_NAME, job, [msgspec.json.format(msgspec.json.encode(job), indent=2)])


def first_failures(folder: Path) -> list[str]:
    """In plain words, which items failed, where and why: the first ones, and how many more there are."""
    found: list[str] = []
    more = 0
    with (folder / RESULTS_NAME).open("rb") as file:
        for line in file:
            if b'"ok": true' in line[:OK_WITHIN_BYTES]:
                continue
            if len(found) == FAILURES_SHOWN_MAX:
                more += 1
                continue
            found.append(_failure(msgspec.json.decode(line, type=ResultLine)))
    return found + ([f"... and {more:,} more; {RESULTS_NAME} has them all"] if more else [])


def _failure(line: ResultLine) -> str:
    where = f" on {short_peer(line.worker)}" if line.worker else ""
    return f"item {line.item} failed{where}: {line.error}"


def _every_item(job: JobView, lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, with one that says so for each item that has none."""
    reason = _NOT_RUN.get(job.state, f"not run: {job.message or job.state}")
    expected = 0
    for line in lines:
        item = _item_of(line)
        yield from _gaps(expected, item, reason)
        yield line
        expected = item + 1
    yield from _gaps(expected, job.items, reason)


def _item_of(line: bytes) -> int:
    # Every line begins with its item; the rest may hold NaN, which strict JSON readers refuse.
    return int(line.removeprefix(b'{"item": ').partition(b",")[0])


def _gaps(start: int, end: int, reason: str) -> Iterator[bytes]:
    for item in range(start, end):
        yield msgspec.json.encode({"item": item, "ok": False, "error": reason})


def _write(path: Path, job: JobView, lines: Iterable[bytes]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            for line in lines:
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise LocalError(
            f"cannot write {path}: {error.strerror}; the peer keeps the results, "
            f"fetch them again with `peer job results {job.id[:12]} --out DIR`"
        ) from error
