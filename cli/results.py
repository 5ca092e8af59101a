"""Write what a job gave: results.jsonl with one line per input line, and report.json."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from cli.exits import DONE, FAILED, INTERRUPTED, NO_WORKER, UNFINISHED
from cli.text import count, short_peer
from peer.views import JobState, JobView, ResultLine
from protocol.errors import LocalError

RESULTS_NAME = "results.jsonl"
REPORT_NAME = "report.json"
FAILURES_SHOWN_MAX = 5
OK_WITHIN_BYTES = 60
NOT_RUN = "not run: "
_REASONS = {
    JobState.CANCELLED: "the job was cancelled",
    JobState.INTERRUPTED: "the peer stopped while the job ran",
    JobState.PAUSED: "the job is paused",
}


def exit_code(job: JobView, done_before: int = 0) -> int:
    """What the end of a job means to the shell; `done_before`: items that were done before it was retried."""
    match job.state:
        case JobState.DONE:
            return FAILED if job.items_failed else DONE
        case JobState.CANCELLED:
            return INTERRUPTED
        case JobState.STOPPED:
            return UNFINISHED
        case JobState.FAILED if job.items_done <= done_before and not job.funnel.awarded:
            return NO_WORKER
    return FAILED


def write_results(folder: Path, job: JobView, lines: Iterable[bytes]) -> None:
    """Both files, each whole or not at all; raises `LocalError` when the disk refuses."""
    _write(folder / RESULTS_NAME, job, _every_item(job, lines))
    _write(folder / REPORT_NAME, job, [msgspec.json.format(msgspec.json.encode(job), indent=2)])


def first_failures(folder: Path, job: JobView) -> list[str]:
    """In plain words, which items failed, where and why: the first ones; and how many were not run at all."""
    found: list[str] = []
    failed = not_run = 0
    with (folder / RESULTS_NAME).open("rb") as file:
        for text in file:
            if b'"ok": true' in text[:OK_WITHIN_BYTES]:
                continue
            line = msgspec.json.decode(text, type=ResultLine)
            if (line.error or "").startswith(NOT_RUN):
                not_run += 1
                continue
            failed += 1
            if failed <= FAILURES_SHOWN_MAX:
                found.append(_failure(line, job))
    if failed > FAILURES_SHOWN_MAX:
        found.append(
            f"... and {failed - FAILURES_SHOWN_MAX:,} more; {RESULTS_NAME} has them all, with their tracebacks"
        )
    return found + ([f"{count(not_run, 'item')} {'was' if not_run == 1 else 'were'} not run"] if not_run else [])


def _failure(line: ResultLine, job: JobView) -> str:
    here = {one.peer for one in job.workers if one.local}
    where = f" on {'this machine' if line.worker in here else short_peer(line.worker)}" if line.worker else ""
    return f"item {line.item} failed{where}: {line.error}"


def _every_item(job: JobView, lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, with one that says so for each item that has none."""
    reason = NOT_RUN + _REASONS.get(job.state, job.message or job.state)
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
