"""The worker's side of the auction: every refusal with its reason, what a bid holds, what an award needs."""

from math import inf

import pytest
from worker_talk import (
    COORDINATOR,
    HEARTBEAT,
    MEMORY,
    RELEASE,
    STRANGER,
    UNKNOWN_BID,
    assign,
    award,
    bid_of,
    call,
    connect,
    leased,
    machine,
    manifest,
    refusal_of,
    sent,
    tell,
)

from protocol.errors import BadFrame, LocalError
from protocol.limits import (
    BID_LIFETIME_S,
    CALLS_PER_PEER_PER_MINUTE_MAX,
    CHUNK_CREDIT_PER_SLOT,
    LEASE_LIFETIME_S,
    SESSION_IDLE_S,
    SESSIONS_PER_COORDINATOR_MAX,
)
from protocol.messages.job import Award, Bid, Leaving, Outbid, Ready, Refusal, RefusalReason
from protocol.requirements import Requirements
from protocol.signing import Envelope
from protocol.worker_events import EndLease, EndSession, SessionEnded, SessionOpened, StartLease, Stop, Tick
from protocol.worker_policy import MEMORY_BYTES_PER_SLOT_DEFAULT, WorkerPolicy

FORGED = Envelope(signer=COORDINATOR.peer_id, body=manifest().body, signature=bytes(64))


@pytest.mark.parametrize(
    ("policy", "fields", "reason", "detail"),
    [
        ({"accepted": frozenset([STRANGER.peer_id])}, {}, RefusalReason.NOT_ACCEPTED, "listed"),
        ({}, {"runtime": "blender"}, RefusalReason.RUNTIME_NOT_OFFERED, "offered: python"),
        ({"price": 3.0}, {}, RefusalReason.PRICE_TOO_LOW, "3 per reference-second"),
        ({"price": 5.0, "price_min": 2.5}, {}, RefusalReason.PRICE_TOO_LOW, "2.5 per reference-second"),
        ({"memory_bytes": MEMORY - 1}, {}, RefusalReason.REQUIREMENTS, "it lacks memory"),
        ({}, {"needs": Requirements(cores=3)}, RefusalReason.REQUIREMENTS, "it lacks cores (2 of 3)"),
        ({}, {"needs": Requirements(gpu="any")}, RefusalReason.REQUIREMENTS, "it lacks a GPU (none; wanted: any)"),
        ({}, {"needs": Requirements(runtime_version="?")}, RefusalReason.REQUIREMENTS, "takes versions such as"),
        ({"versions": {"python": "3.11.2"}}, {"needs": Requirements(runtime_version=">=3.11")}, None, ""),
        ({}, {"memory_bytes": 0}, None, ""),
        ({"memory_bytes": MEMORY_BYTES_PER_SLOT_DEFAULT - 1}, {"memory_bytes": 0}, RefusalReason.REQUIREMENTS, ""),
        ({"slots": 0}, {}, RefusalReason.REQUIREMENTS, "it lacks cores (0 of 1)"),
        ({"leases_max": 0}, {}, RefusalReason.TOO_MANY_LEASES, "all leases"),
        ({"calls_per_minute_max": 0}, {}, RefusalReason.TOO_MANY_CALLS, "at most 0 a minute"),
        ({"accepted": frozenset([COORDINATOR.peer_id])}, {}, None, ""),
        ({"price": 5.0, "price_min": 1.5}, {}, None, ""),
    ],
)
def test_a_call_gets_a_bid_or_its_reason(
    policy: dict[str, object], fields: dict[str, object], reason: RefusalReason | None, detail: str
) -> None:
    worker = machine(**policy)
    connect(worker)
    (answer,) = sent(tell(worker, call(7, **fields)))
    if reason is None:
        assert isinstance(answer, Bid)
    else:
        assert isinstance(answer, Refusal)
        assert (answer.call_id, answer.reason) == (7, reason)
        assert detail in answer.detail


def test_a_bid_asks_the_owners_price_or_what_the_call_offers_above_the_lowest() -> None:
    worker = machine(price=1.5, price_min=0.5, speed=2.0)
    connect(worker)
    bid = bid_of(worker)
    assert (bid.price, bid.speed, bid.expires_s) == (1.5, 2.0, BID_LIFETIME_S)
    assert bid_of(worker, price_max=0.75).price == 0.75


def test_a_bid_holds_its_slots_until_it_is_outbid() -> None:
    worker = machine()
    connect(worker)
    connect(worker, 1, STRANGER.peer_id)
    bid = bid_of(worker, slots_wanted=9)
    assert bid.slots == 2
    assert refusal_of(worker, call(), session=1).reason is RefusalReason.NO_FREE_SLOT
    tell(worker, Outbid(call_id=1, bid=UNKNOWN_BID))
    assert refusal_of(worker, call(), session=1).reason is RefusalReason.NO_FREE_SLOT
    tell(worker, Outbid(call_id=1, bid=bid.bid))
    assert bid_of(worker, session=1).slots == 1


def test_a_bid_lapses() -> None:
    worker = machine()
    connect(worker)
    connect(worker, 1, STRANGER.peer_id)
    bid = bid_of(worker, slots_wanted=2)
    assert worker.next_deadline() == BID_LIFETIME_S
    worker.handle(Tick(), BID_LIFETIME_S - 0.1)
    assert refusal_of(worker, call(), session=1).reason is RefusalReason.NO_FREE_SLOT
    worker.handle(Tick(), BID_LIFETIME_S)
    assert isinstance(sent(tell(worker, call(2), BID_LIFETIME_S, 1), 1)[0], Bid)
    refusal = refusal_of(worker, award(bid), now=BID_LIFETIME_S)
    assert (refusal.call_id, refusal.reason) == (1, RefusalReason.BID_UNKNOWN)


def test_a_bid_goes_with_its_stream() -> None:
    worker = machine()
    connect(worker)
    bid_of(worker, slots_wanted=2)
    worker.handle(SessionEnded(0), 1.0)
    assert worker.free().slots == 2
    assert worker.next_deadline() == inf


def test_a_second_call_takes_the_place_of_the_first() -> None:
    worker = machine()
    connect(worker)
    first = bid_of(worker, slots_wanted=2)
    second = bid_of(worker, call_id=2, slots_wanted=2)
    assert refusal_of(worker, award(first)).reason is RefusalReason.BID_UNKNOWN
    assert second.bid != first.bid


def test_memory_bounds_slots_and_is_held_by_bids() -> None:
    worker = machine(slots=8, memory_bytes=5 * MEMORY)
    connect(worker)
    connect(worker, 1, STRANGER.peer_id)
    assert bid_of(worker, memory_bytes=2 * MEMORY, slots_wanted=8).slots == 2
    assert refusal_of(worker, call(memory_bytes=2 * MEMORY), session=1).reason is RefusalReason.NO_MEMORY


def test_an_award_makes_a_lease() -> None:
    worker = machine()
    connect(worker)
    bid = bid_of(worker, slots_wanted=2)
    effects = tell(worker, award(bid, price=1.25))
    (ready,) = sent(effects)
    assert isinstance(ready, Ready)
    assert ready.chunk_credit == 2 * CHUNK_CREDIT_PER_SLOT
    (start,) = [one for one in effects if isinstance(one, StartLease)]
    assert (start.slots, start.manifest.job) == (2, "job")
    assert (worker.slots_busy, worker.lease_count) == (2, 1)
    assert refusal_of(worker, call(2)).reason is RefusalReason.TOO_MANY_LEASES


def test_an_award_of_fewer_slots_frees_the_others() -> None:
    worker = machine(slots=4)
    connect(worker)
    tell(worker, award(bid_of(worker, slots_wanted=4), slots=1))
    assert worker.free().slots == 3


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"bid": UNKNOWN_BID}, RefusalReason.BID_UNKNOWN, "no such bid"),
        ({"call_id": 2}, RefusalReason.BID_UNKNOWN, "no such bid"),
        ({"price": 0.5}, RefusalReason.BID_UNKNOWN, "the bid was 1 slots at 1"),
        ({"slots": 2}, RefusalReason.BID_UNKNOWN, "the bid was 1 slots at 1"),
        ({"manifest": manifest(STRANGER)}, RefusalReason.BAD_MANIFEST, "signed by"),
        ({"manifest": FORGED}, RefusalReason.BAD_MANIFEST, "not valid"),
        ({"manifest": manifest(job="another")}, RefusalReason.BAD_MANIFEST, "not for the job"),
        ({"manifest": manifest(runtime="wasm")}, RefusalReason.BAD_MANIFEST, "not for the job"),
        ({"manifest": manifest(memory_bytes_max=2 * MEMORY)}, RefusalReason.BAD_MANIFEST, "256 MiB per slot"),
    ],
)  # fmt: skip
def test_an_award_that_does_not_fit_is_refused(fields: dict[str, object], reason: RefusalReason, detail: str) -> None:
    worker = machine()
    connect(worker)
    bid = bid_of(worker)
    refusal = refusal_of(worker, award(bid, **fields))
    assert refusal.reason is reason
    assert detail in refusal.detail
    assert worker.free().slots == 2
    assert worker.lease_count == 0


def test_an_award_without_a_bid_is_refused() -> None:
    worker = machine()
    connect(worker)
    message = Award(call_id=9, bid=UNKNOWN_BID, lease="lease", price=1.0, slots=1, manifest=manifest())
    assert refusal_of(worker, message).reason is RefusalReason.BID_UNKNOWN


def test_no_lease_id_is_taken_twice() -> None:
    worker = leased()
    tell(worker, RELEASE)
    refusal = refusal_of(worker, award(bid_of(worker)))
    assert (refusal.reason, refusal.detail) == (RefusalReason.BID_UNKNOWN, "this lease id was used before")


def test_calls_are_limited_per_coordinator_and_the_limit_recovers() -> None:
    worker = machine()
    connect(worker)
    connect(worker, 1, STRANGER.peer_id)
    for number in range(CALLS_PER_PEER_PER_MINUTE_MAX):
        assert isinstance(sent(tell(worker, call(number)))[0], Bid)
    assert refusal_of(worker, call()).reason is RefusalReason.TOO_MANY_CALLS
    assert isinstance(sent(tell(worker, call(), session=1), 1)[0], Bid)
    assert isinstance(sent(tell(worker, call(), now=1.0))[0], Bid)


def test_an_idle_lease_gives_way_to_a_new_call_but_not_too_soon() -> None:
    worker = leased()
    connect(worker, 1, STRANGER.peer_id)
    now = 0.0
    while now < LEASE_LIFETIME_S - 1:
        now += 1.0
        tell(worker, HEARTBEAT, now)
    assert refusal_of(worker, call(), session=1, now=now).reason is RefusalReason.NO_FREE_SLOT
    tell(worker, HEARTBEAT, now + 1)
    effects = tell(worker, call(), now + 1, 1)
    assert isinstance(sent(effects, 1)[0], Bid)
    leaving = sent(effects)[-1]
    assert isinstance(leaving, Leaving)
    assert "others wait" in leaving.reason
    assert any(isinstance(one, EndLease) for one in effects)


def test_a_busy_lease_does_not_give_way() -> None:
    worker = leased()
    connect(worker, 1, STRANGER.peer_id)
    tell(worker, assign(1))
    tell(worker, HEARTBEAT, 2 * LEASE_LIFETIME_S)
    assert refusal_of(worker, call(), session=1, now=2 * LEASE_LIFETIME_S).reason is RefusalReason.NO_FREE_SLOT


def test_a_stopping_worker_says_so() -> None:
    worker = machine()
    connect(worker)
    bid_of(worker)
    effects = worker.handle(Stop(), 1.0)
    (refusal,) = sent(effects)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is RefusalReason.STOPPING
    assert [type(one) for one in effects] == [type(effects[0]), EndSession]
    connect(worker, 1)
    assert refusal_of(worker, call(), session=1).reason is RefusalReason.STOPPING


def test_sessions_are_bounded_and_those_without_a_call_end() -> None:
    worker = machine()
    for number in range(SESSIONS_PER_COORDINATOR_MAX):
        connect(worker, number)
    (end,) = worker.handle(SessionOpened(999, COORDINATOR.peer_id), 0.0)
    assert isinstance(end, EndSession)
    connect(worker, 1000, STRANGER.peer_id)
    effects = worker.handle(Tick(), SESSION_IDLE_S)
    assert [type(one) for one in effects] == [EndSession] * (SESSIONS_PER_COORDINATOR_MAX + 1)
    worker.check_invariants()
    assert worker.next_deadline() == inf


def test_what_a_worker_says_is_not_for_a_coordinator_to_say() -> None:
    worker = machine()
    connect(worker)
    with pytest.raises(BadFrame, match="Refusal does not belong here: the session is open"):
        tell(worker, Refusal(call_id=1, reason=RefusalReason.STOPPING))


@pytest.mark.parametrize("fields", [{"slots": -1}, {"slots": 257}, {"price": 1.0, "price_min": 2.0}, {"price": -1.0},
                                    {"leases_max": 65}])  # fmt: skip
def test_a_policy_that_makes_no_sense_is_our_mistake(fields: dict[str, float]) -> None:
    with pytest.raises(LocalError):
        WorkerPolicy(**fields)  # type: ignore[arg-type]


def test_a_slot_of_several_cores_holds_all_of_them():
    worker = machine(slots=5)
    connect(worker)
    needs = Requirements(cores=2)
    bid = bid_of(worker, slots_wanted=9, needs=needs)
    assert bid.slots == 2
    assert worker.free().slots == 1
    tell(worker, award(bid, manifest=manifest(cores=2)))
    assert (worker.slots_busy, worker.free().slots) == (4, 1)
    connect(worker, 1)
    refusal = refusal_of(worker, call(needs=needs), 1)
    assert (refusal.reason, refusal.detail) == (RefusalReason.NO_FREE_SLOT, "1 of 2 cores are free")


def test_a_manifest_may_not_take_more_cores_than_the_call():
    worker = machine()
    connect(worker)
    refusal = refusal_of(worker, award(bid_of(worker), manifest=manifest(cores=2)))
    assert refusal.reason is RefusalReason.BAD_MANIFEST and "more cores" in refusal.detail
