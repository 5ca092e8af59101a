"""What must hold in every run (DESIGN section 12). Pure functions over what the run recorded.

Each checker yields violations in words that lead to the cause: which job, which chunk, which peer, when.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from peer.views import JobState
from simulations.record import ChunkEnd, Record
from simulations.result import Violation

Checker = Callable[[Record], Iterator[Violation]]
VIOLATIONS_PER_CHECKER_MAX = 100


def check(record: Record) -> tuple[Violation, ...]:
    """Every violation, the earliest first; at most `VIOLATIONS_PER_CHECKER_MAX` of each checker."""
    found = [
        violation
        for checker in CHECKERS.values()
        for violation in islice(checker(record), VIOLATIONS_PER_CHECKER_MAX)
    ]
    return tuple(sorted(found, key=lambda one: (one.at_s, one.checker, one.detail)))


def every_chunk_ends(record: Record) -> Iterator[Violation]:
    """A job that is over has no open chunk, and one that is done has each item exactly once."""
    chunks = _by_job(record)
    for job in record.jobs:
        if not job.state.is_final:
            continue
        if not job.finals:
            yield Violation("every_chunk_ends", job.ended_at_s, f"job {job.job} is {job.state}, but has open chunks")
        if job.state is JobState.DONE:
            for detail in _uncovered(chunks[job.job], job.items):
                yield Violation("every_chunk_ends", job.ended_at_s, f"job {job.job} is done, but {detail}")


def few_wrong_results(record: Record) -> Iterator[Violation]:
    """No more wrong results among those of a finished job than the target; an item given up is wrong as well."""
    target = record.scenario.limits.wrong_share_max
    chunks = _by_job(record)
    for job in record.jobs:
        mine = chunks[job.job]
        total = sum(one.stop - one.start for one in mine)
        wrong = sum(one.stop - one.start if one.given_up else one.wrong for one in mine)
        if wrong > target * total:
            worst = next(one for one in mine if one.wrong or one.given_up)
            yield Violation(
                "few_wrong_results",
                worst.at_s,
                f"job {job.job}: {wrong} of {total} results are wrong, more than {target:g} of them; "
                f"the first are in {_named(worst)}",
            )


def accepted_is_paid(record: Record) -> Iterator[Violation]:
    """Whoever's result was taken has a receipt over its chunk when the job has ended."""
    ended = {job.job for job in record.jobs if job.state.is_final}
    for chunk in record.chunks:
        if chunk.job in ended and chunk.source is not None and chunk.source not in chunk.paid:
            yield Violation("accepted_is_paid", chunk.at_s, f"{_named(chunk)} was accepted and not paid")


def tables_are_bounded(record: Record) -> Iterator[Violation]:
    """No queue and no table went over its limit."""
    for gauge in record.gauges:
        if gauge.value > gauge.limit:
            yield Violation(
                "tables_are_bounded",
                gauge.at_s,
                f"{gauge.name} of {gauge.peer} came to {gauge.value:g}, over the limit of {gauge.limit:g}",
            )


def no_task_is_left(record: Record) -> Iterator[Violation]:
    """Stopped peers leave no task behind."""
    for name in sorted(record.tasks_left):
        yield Violation("no_task_is_left", record.over_at_s, f"{name} runs although every peer was stopped")


def jobs_finish(record: Record) -> Iterator[Violation]:
    """Once all is healed, every job comes to a good end within the time for it."""
    for job in record.jobs:
        if not job.state.is_final:
            waited_s = record.over_at_s - record.healed_at_s
            yield Violation(
                "jobs_finish",
                record.over_at_s,
                f"job {job.job} is still {job.state}, {waited_s:g} s after the healing: {job.message}",
            )
        elif job.state is not JobState.DONE:
            yield Violation("jobs_finish", job.ended_at_s, f"job {job.job} is {job.state}: {job.message}")


def nothing_fails_inside(record: Record) -> Iterator[Violation]:
    """No exception at a supervised boundary, no broken invariant."""
    for failure in record.failures:
        yield Violation("nothing_fails_inside", failure.at_s, failure.detail)


CHECKERS: Mapping[str, Checker] = {
    checker.__name__: checker
    for checker in (
        every_chunk_ends,
        few_wrong_results,
        accepted_is_paid,
        tables_are_bounded,
        no_task_is_left,
        jobs_finish,
        nothing_fails_inside,
    )
}


def _by_job(record: Record) -> Mapping[str, list[ChunkEnd]]:
    chunks: defaultdict[str, list[ChunkEnd]] = defaultdict(list)
    for chunk in record.chunks:
        chunks[chunk.job].append(chunk)
    return chunks


def _uncovered(chunks: list[ChunkEnd], items: int) -> Iterator[str]:
    """Items without a result, or with two."""
    at = 0
    for chunk in sorted(chunks, key=lambda one: (one.start, one.stop)):
        if chunk.start > at:
            yield f"items {at} to {chunk.start - 1} have no result"
        elif chunk.start < at:
            yield f"items {chunk.start} to {min(at, chunk.stop) - 1} have two results"
        at = max(at, chunk.stop)
    if at < items:
        yield f"items {at} to {items - 1} have no result"


def _named(chunk: ChunkEnd) -> str:
    given_by = f" by {chunk.source}" if chunk.source else ""
    return f"chunk {chunk.chunk} (items {chunk.start} to {chunk.stop - 1}) of job {chunk.job}{given_by}"
