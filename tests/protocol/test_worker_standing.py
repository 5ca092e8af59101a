"""Whom a worker serves first, and whom no more: those it owes, those who never pay."""

from itertools import count

import pytest
from worker_talk import (
    assign,
    award,
    bid_of,
    call,
    connect,
    machine,
    manifest,
    receipts,
    refusal_of,
    sent,
    tell,
)

from protocol.admission import STANDING_MARGIN
from protocol.ids import LeaseId, PeerId
from protocol.limits import RECEIPT_GRACE_S, UNPAID_COMPUTE_S_MAX
from protocol.messages.job import Bid, Leaving, RefusalReason, Release
from protocol.signing import Identity
from protocol.worker_events import ChunkRan, EndLease, RunnerReady
from protocol.worker_machine import WorkerMachine
from protocol.worker_memory import NoMemory

NAMES = [Identity(bytes([number]) * 32) for number in range(10, 14)]
A, B, C, D = (one.peer_id for one in NAMES)


class Memory(NoMemory):
    def __init__(self, standing: dict[PeerId, float]) -> None:
        self._standing = standing

    def leave(self, peer: PeerId) -> None:
        return None

    def standing(self, peer: PeerId) -> float:
        return self._standing.get(peer, 0.0)


def crowd(standing: dict[PeerId, float], slots: int = 2) -> WorkerMachine:
    """A machine with a stream of each of four coordinators, by their place."""
    worker = machine(Memory(standing), slots=slots)
    for number, peer in enumerate((A, B, C, D)):
        connect(worker, number, peer)
    return worker


def lease(worker: WorkerMachine, session: int, slots: int, now: float = 0.0) -> None:
    """A lease on so many slots, with a chunk running on each."""
    bid = bid_of(worker, session, now, slots_wanted=slots)
    assert bid.slots == slots
    name = f"lease {session}"
    tell(worker, award(bid, name, manifest=manifest(NAMES[session])), now, session)
    for slot in range(slots):
        worker.handle(RunnerReady(session, LeaseId(name), slot), now)
    tell(worker, assign(*range(slots), lease=name), now, session)


def test_who_has_served_us_goes_before_who_has_not() -> None:
    worker = crowd({D: STANDING_MARGIN})
    lease(worker, 0, 2)
    effects = tell(worker, call(9), session=3)
    (leaving,) = sent(effects, 0)
    assert isinstance(leaving, Leaving) and "served" in leaving.reason
    assert EndLease(0, LeaseId("lease 0")) in effects
    assert isinstance(sent(effects, 3)[0], Bid)


@pytest.mark.parametrize("theirs", [0.1, 100.0])
def test_who_has_served_us_as_much_or_hardly_more_waits(theirs: float) -> None:
    worker = crowd({A: theirs, D: theirs + STANDING_MARGIN - 0.1})
    lease(worker, 0, 2)
    assert refusal_of(worker, call(9), session=3).reason == RefusalReason.NO_FREE_SLOT
    assert worker.lease_count == 1


def test_those_who_have_served_least_make_room_and_no_more_than_needed() -> None:
    worker = crowd({A: 50.0, B: 0.0, C: 20.0, D: 100.0}, slots=3)
    for session in range(3):
        lease(worker, session, 1)
    effects = tell(worker, call(9), session=3)
    assert [one.session for one in effects if isinstance(one, EndLease)] == [1]
    (bid,) = sent(effects, 3)
    assert isinstance(bid, Bid) and bid.slots == 1


def test_nobody_leaves_where_it_would_not_help() -> None:
    worker = crowd({A: 200.0, D: 100.0})
    bid_of(worker, 1, slots_wanted=1)
    lease(worker, 0, 1)
    assert refusal_of(worker, call(9), session=3).reason == RefusalReason.NO_FREE_SLOT
    assert worker.lease_count == 1


def test_two_creditors_do_not_chase_one_another() -> None:
    worker = crowd({A: 30.0, D: 100.0})
    lease(worker, 0, 2)
    bid = bid_of(worker, 3, slots_wanted=2)
    tell(worker, award(bid, "lease 3", manifest=manifest(NAMES[3])), session=3)
    assert refusal_of(worker, call(9), session=0).reason == RefusalReason.NO_FREE_SLOT


# Who does not pay.

JOBS = count()


def work(worker: WorkerMachine, job: str, compute_s: float, now: float, *, paid: bool = False) -> None:
    """A whole lease for a job of A, with one chunk."""
    name = f"lease {next(JOBS)}"
    bid = bid_of(worker, now=now, job=job, slots_wanted=1)
    tell(worker, award(bid, name, manifest=manifest(NAMES[0], job=job)), now)
    worker.handle(RunnerReady(0, LeaseId(name), 0), now)
    tell(worker, assign(1, lease=name), now)
    worker.handle(ChunkRan(0, LeaseId(name), 0, b"result", compute_s), now)
    if paid:
        tell(worker, receipts(0, NAMES[0], name, job=job), now)
    tell(worker, Release(lease=LeaseId(name)), now)


@pytest.fixture
def worker() -> WorkerMachine:
    return crowd({})


def test_who_has_not_paid_for_a_minute_of_work_gets_no_more(worker: WorkerMachine) -> None:
    work(worker, "first", UNPAID_COMPUTE_S_MAX + 1, now=0.0)
    refusal = refusal_of(worker, call(1, job="second"), now=RECEIPT_GRACE_S)
    assert refusal.reason == RefusalReason.UNPAID and "61 s of work" in refusal.detail


def test_others_are_not_blamed_for_it(worker: WorkerMachine) -> None:
    work(worker, "first", UNPAID_COMPUTE_S_MAX + 1, now=0.0)
    bid_of(worker, session=1, now=RECEIPT_GRACE_S, job="second")


def test_a_job_has_time_to_pay_and_one_that_goes_on_may_call(worker: WorkerMachine) -> None:
    work(worker, "first", 1000.0, now=0.0)
    bid_of(worker, now=RECEIPT_GRACE_S - 1, job="second")
    bid_of(worker, now=RECEIPT_GRACE_S + 1, job="first")


def test_little_work_is_given_on_trust(worker: WorkerMachine) -> None:
    work(worker, "first", UNPAID_COMPUTE_S_MAX / 2, now=0.0)
    work(worker, "second", UNPAID_COMPUTE_S_MAX / 2, now=1.0)
    bid_of(worker, now=2 * RECEIPT_GRACE_S, job="third")


def test_one_receipt_pays_for_all_leases_of_its_job(worker: WorkerMachine) -> None:
    work(worker, "first", 1000.0, now=0.0)
    work(worker, "first", 1.0, now=1.0, paid=True)
    bid_of(worker, now=RECEIPT_GRACE_S + 1, job="second")


def test_who_pays_late_is_served_again(worker: WorkerMachine) -> None:
    name = f"lease {next(JOBS) + 1}"
    work(worker, "first", 1000.0, now=0.0)
    assert refusal_of(worker, call(1, job="second"), now=RECEIPT_GRACE_S).reason == RefusalReason.UNPAID
    tell(worker, receipts(0, NAMES[0], name, job="first"), RECEIPT_GRACE_S)
    bid_of(worker, now=RECEIPT_GRACE_S, job="second")
