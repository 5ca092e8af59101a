"""What a job waits for, read from the books of a machine that is driven by hand."""

from random import Random

import pytest

from protocol.adaptive import parse_policy
from protocol.chunk import Failure
from protocol.ids import ChunkId, PeerId
from protocol.job_events import (
    FailureArrived,
    HeardFrom,
    ItemsAdded,
    ItemsClosed,
    ResultArrived,
    Tick,
    WorkerLost,
    WorkerReady,
)
from protocol.job_machine import JobMachine, JobRules
from protocol.messages.job import FailureKind
from protocol.wait_words import Books, late_workers, seconds_left, waits_in_words

ANNE, BERT, HERE = PeerId("anne"), PeerId("bert"), PeerId("here")


class Job:
    """A machine and the time."""

    def __init__(self, items: int, verify: str = "none") -> None:
        self.machine = JobMachine(JobRules(parse_policy(verify), can_audit=False), Random(0))
        self.now = 0.0
        self.tell(ItemsAdded((1,) * items))
        self.tell(ItemsClosed())

    def tell(self, event: object, at: float | None = None) -> None:
        self.now = self.now if at is None else at
        self.machine.handle(event, self.now)  # type: ignore[arg-type]
        self.machine.check_invariants()

    def join(self, *peers: PeerId, local: bool = False, party: str | None = None) -> None:
        for peer in peers:
            self.tell(WorkerReady(peer, 1, 64, price=1.0, speed=1.0, local=local, party=party))

    def give(self, peer: PeerId, chunk: int, took_s: float, at: float) -> None:
        self.tell(ResultArrived(peer, ChunkId(chunk), bytes(32), took_s), at)

    def books(self) -> Books:
        one = self.machine
        return Books(one.book, one.workers, one.estimate, one.rules.policy.replicas, one.court.audits_pending)

    def words(self, at: float | None = None) -> list[str]:
        return waits_in_words(self.books(), self.now if at is None else at)


def test_a_job_without_a_worker_waits_for_one():
    job = Job(3)
    assert job.words() == ["3 items not handed out yet"]
    assert seconds_left(job.books(), 0.0) is None


def test_what_runs_as_expected_is_one_line():
    job = Job(3)
    job.join(ANNE, BERT)
    job.give(ANNE, 0, 3.0, at=3.0)
    assert job.words(3.1) == ["2 chunks with 2 workers"]


def test_a_straggler_is_named_with_its_age_and_who_has_the_copy():
    job = Job(2)
    job.join(ANNE, BERT)
    job.give(BERT, 1, 3.0, at=3.0)
    assert job.words(6.5) == [
        "1 chunk runs on anne since 6.5 s, others took 3.0 s: whoever is idle first gets a second copy",
        "anne was last heard from 6.5 s ago: after 8.0 s what it has goes to others",
    ]
    job.tell(HeardFrom(ANNE, (ChunkId(0),)), at=7.0)
    assert job.words(40.0)[0] == "1 chunk runs on anne since 40 s, others took 3.0 s: a second copy was given to bert"


def test_the_own_machine_is_called_so():
    job = Job(2)
    job.join(ANNE, local=False)
    job.join(HERE, local=True)
    job.give(ANNE, 0, 3.0, at=3.0)
    assert job.words(8.0)[0].startswith("1 chunk runs on this machine since 8.0 s, others took 3.0 s")


def test_nobody_else_may_take_a_copy():
    job = Job(2)
    job.join(ANNE)
    job.give(ANNE, 0, 0.1, at=0.1)
    (line, *_) = job.words(5.0)
    assert line == "1 chunk runs on anne since 4.9 s, others took 0.1 s: nobody else here may take a second copy"


def test_while_work_is_left_there_are_no_copies():
    job = Job(100)
    job.join(ANNE, BERT)
    job.give(BERT, 1, 3.0, at=3.0)
    line = next(one for one in job.words(7.0) if "runs on anne" in one)
    assert line.endswith("second copies are given once all work is handed out")


def test_a_vote_that_is_lacking_says_why_nobody_gives_it():
    job = Job(1, "quorum:2")
    job.join(ANNE)
    job.give(ANNE, 0, 1.0, at=1.0)
    assert job.words() == ["1 chunk with a result waits for that of another peer: the one at work has had them"]
    job.join(BERT)
    assert job.words() == ["1 chunk with bert"]


def test_peers_of_one_party_are_told_as_the_reason():
    job = Job(1, "quorum:2")
    job.join(ANNE, BERT, party="8.8.8.0/24")
    job.give(next(iter(job.machine.book.open[ChunkId(0)].live)), 0, 1.0, at=1.0)
    assert job.words()[-1].endswith("the 2 at work have had them or belong to one party")


def test_chunks_that_came_back_wait_and_it_is_said_that_they_failed():
    job = Job(1)
    job.join(ANNE, BERT)
    holder = next(iter(job.machine.book.open[ChunkId(0)].live))
    other = BERT if holder == ANNE else ANNE
    job.tell(WorkerLost(other, "gone"), at=0.5)
    job.join(other)
    job.tell(FailureArrived(holder, ChunkId(0), Failure(FailureKind.CRASHED, 0, "")), at=1.0)
    job.tell(WorkerLost(other, "gone"), at=1.5)
    job.tell(WorkerLost(holder, "gone"), at=1.5)
    assert job.words() == [
        "1 chunk waits for a worker (1 failed elsewhere before): nobody works for this job now",
    ]


def test_an_ended_job_waits_for_nothing():
    job = Job(1)
    job.join(ANNE)
    job.give(ANNE, 0, 1.0, at=1.0)
    assert job.machine.ended is not None
    assert job.words() == []


def test_the_longest_late_comes_first_and_only_so_many_are_told():
    job = Job(9)
    peers = [PeerId(f"peer{n}") for n in range(8)]
    job.join(*peers)
    for peer in peers:
        job.tell(HeardFrom(peer, ()), at=7.0)
    late = late_workers(job.books(), 12.0)
    assert [one.since for one in late] == sorted(one.since for one in late)
    words = job.words(12.0)
    assert sum("since 12 s" in line for line in words) == 5
    assert "3 more workers are late as well" in words


@pytest.mark.parametrize(("items", "expected_s"), [(5, 4.0), (9, 8.0)])
def test_the_rest_is_shared_by_all_slots(items, expected_s):
    job = Job(items)
    job.join(ANNE, BERT)
    job.give(ANNE, 0, 2.0, at=2.0)
    # Bert has had his for as long as one takes: nothing of it counts as left.
    left_s = seconds_left(job.books(), 2.0)
    assert left_s == pytest.approx((items - 2) * 2.0 / 2, abs=2.0)
    assert left_s >= expected_s - 2.0
    job.tell(Tick(), at=2.5)
    assert seconds_left(job.books(), 2.5) < left_s
