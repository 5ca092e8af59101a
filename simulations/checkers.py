"""What must hold in every run (DESIGN section 12). Pure functions over what the run recorded.

Each checker yields violations in words that lead to the cause: which job, which item, which worker, when.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from peer.views import JobState
from protocol.chunk import FINAL
from simulations.recording import JobRecord, Recording
from simulations.result import Violation
from simulations.scenario import Scenario

Checker = Callable[[Recording, Scenario], Iterator[Violation]]
VIOLATIONS_PER_CHECKER_MAX = 100


def check(recording: Recording, scenario: Scenario) -> tuple[Violation, ...]:
    """Every violation, the earliest first; at most `VIOLATIONS_PER_CHECKER_MAX` of each checker."""
    found = [
        violation
        for checker in CHECKERS.values()
        for violation in islice(checker(recording, scenario), VIOLATIONS_PER_CHECKER_MAX)
    ]
    return tuple(sorted(found, key=lambda one: (one.at_s, one.checker, one.detail)))


def every_chunk_ends(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """A job that is done has no open chunk and an outcome for every item."""
    final = {str(state) for state in FINAL}
    for job in _ended(recording):
        if _state(job) is not JobState.DONE:
            continue
        at_s = _end_of(job, recording)
        unended = {} if job.view is None else {state: n for state, n in job.view.chunks.items() if state not in final}
        if unended:
            words = ", ".join(f"{count} {state}" for state, count in sorted(unended.items()))
            yield Violation("every_chunk_ends", at_s, f"job {job.job} is done, but has chunks that are {words}")
        missing = [item for item in range(job.items) if item not in job.right and item not in job.failed]
        if missing:
            detail = f"job {job.job} is done, but {len(missing)} items have no outcome, the first of them {missing[0]}"
            yield Violation("every_chunk_ends", at_s, detail)
        twice = sorted(job.failed & job.right.keys())
        if twice:
            yield Violation("every_chunk_ends", at_s, f"job {job.job}: item {twice[0]} has a result and has failed")


def few_wrong_results(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """No more wrong results than the target; an item that was given up counts as wrong: every item can be computed."""
    target = scenario.limits.wrong_share_max
    for job in recording.jobs:
        bad = sorted(job.failed | {item for item, right in job.right.items() if not right})
        total = len(job.right.keys() | job.failed)
        if len(bad) > target * total:
            giver = job.given_by.get(bad[0], "nobody")
            yield Violation(
                "few_wrong_results",
                _end_of(job, recording),
                f"job {job.job}: {len(bad)} of {total} results are wrong or given up, more than {target:g} of them; "
                f"the first is item {bad[0]}, given by {giver}",
            )


def accepted_is_paid(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """Every worker whose result was accepted was given a receipt by the end of its job, but for those that are banned.

    A coordinator that dies forgets whom it owed for what it had accepted since it last wrote that down.
    """
    paid = {(receipt.job, receipt.worker) for receipt in recording.given}
    for job in _ended(recording):
        others = {worker.peer for worker in job.view.workers if not worker.local} if job.view else set()
        banned = {peer for coordinator, peer in recording.banned if coordinator == job.coordinator}
        owed = [giver for item, giver in job.given_by.items() if item not in job.unpaid]
        for worker in sorted(others.intersection(owed) - banned):
            if (job.job, worker) not in paid:
                items = owed.count(worker)
                detail = f"job {job.job}: {items} results of {worker} were accepted and not paid"
                yield Violation("accepted_is_paid", _end_of(job, recording), detail)


def every_liar_is_named(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """The report of a job names each peer that was found there to have given a wrong result."""
    for job in _ended(recording):
        named = set(job.view.liars) if job.view else set()
        for peer in sorted(peer for where, peer in recording.caught_in if where == job.job and peer not in named):
            detail = f"job {job.job}: {peer} was caught, and the report does not say so"
            yield Violation("every_liar_is_named", _end_of(job, recording), detail)


def tables_are_bounded(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """No queue and no table went over its limit."""
    for name, peak in sorted(recording.peaks.items()):
        if peak.value > peak.limit:
            detail = f"{name} came to {peak.value}, over the limit of {peak.limit}"
            yield Violation("tables_are_bounded", recording.ended_at_s, detail)


def no_task_is_left(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """Stopped peers leave no task behind."""
    if (left := recording.tasks_after - recording.tasks_before) > 0:
        yield Violation("no_task_is_left", recording.ended_at_s, f"{left} tasks run although every peer was stopped")


def jobs_finish(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """Once all is healed, every job comes to a good end within the time for it.

    Before, a job without a machine of its own may fail for want of workers.
    """
    submitted = scenario.workload.coordinators * scenario.workload.jobs
    if len(recording.jobs) < submitted:
        detail = f"{len(recording.jobs)} of {submitted} jobs were submitted by the end"
        yield Violation("jobs_finish", recording.ended_at_s, detail)
    for job in recording.jobs:
        at_s = _end_of(job, recording)
        message = job.view.message if job.view else "never seen"
        if job.ended_at_s is None:
            healed_at_s = recording.ended_at_s if recording.healed_at_s is None else recording.healed_at_s
            waited_s = recording.ended_at_s - healed_at_s
            detail = f"job {job.job} is still {_state(job)}, {waited_s:g} s after the healing: {message}"
            yield Violation("jobs_finish", at_s, detail)
        elif _state(job) is not JobState.DONE and (scenario.workload.local or recording.healed_at_s is not None):
            yield Violation("jobs_finish", at_s, f"job {job.job} is {_state(job)}: {message}")
        elif job.view is not None and job.view.doubtful:
            yield Violation("jobs_finish", at_s, f"job {job.job}: {job.view.doubtful} results are still in doubt")


def nothing_runs_again(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """No peer executes an item more often than it was handed out to it, as a leased chunk or as an audit.

    That nothing is handed out that was accepted before a restart is seen as the run goes on, by the book.
    """
    for replica, times in sorted(recording.executed.items()):
        if times > recording.handed_out[replica]:
            job, number, item = replica
            detail = f"job {job}: peer {number} has executed item {item} {times} times, and was given it "
            yield Violation(
                "nothing_runs_again", recording.ended_at_s, f"{detail}{recording.handed_out[replica]} times"
            )


def nothing_breaks(recording: Recording, scenario: Scenario) -> Iterator[Violation]:
    """No broken invariant, no peer that fell over, no error that was logged."""
    yield from recording.broken


CHECKERS: Mapping[str, Checker] = {
    checker.__name__: checker
    for checker in (
        every_chunk_ends,
        few_wrong_results,
        accepted_is_paid,
        every_liar_is_named,
        tables_are_bounded,
        no_task_is_left,
        jobs_finish,
        nothing_runs_again,
        nothing_breaks,
    )
}


def _ended(recording: Recording) -> list[JobRecord]:
    return [job for job in recording.jobs if job.ended_at_s is not None]


def _end_of(job: JobRecord, recording: Recording) -> float:
    return recording.ended_at_s if job.ended_at_s is None else job.ended_at_s


def _state(job: JobRecord) -> JobState | str:
    return job.view.state if job.view else "not known"
