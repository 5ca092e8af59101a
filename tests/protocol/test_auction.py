"""The coordinator's auction: who is called, who wins, at what price, and the reasons that remain."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.auction import (
    ANSWER_S_MAX,
    PREPARE_S_MAX,
    RECALL_S_MAX,
    RECALL_S_MIN,
    SILENCE_S_MAX,
    AuctionMachine,
    AuctionRules,
    AwardBid,
    CallPeer,
    CandidateState,
    DeclineBid,
    HangUp,
)
from protocol.capability import Capability
from protocol.ids import BidId, PeerId
from protocol.limits import BID_WINDOW_S, CALLS_CONCURRENT_MAX
from protocol.messages.job import Bid, RefusalReason
from protocol.scoring import Terms, clearing_price, score


def record(name: str) -> Capability:
    return Capability(peer=PeerId(name), sequence=1, expires_at_unix_s=1e9)


def bid(price: float, slots: int = 1, speed: float = 1.0) -> Bid:
    return Bid(call_id=1, bid=BidId("b"), price=price, slots=slots, speed=speed, ready_s=0.1, expires_s=15.0)


def machine(slots: int = 10, workers: int = 10, price: float = 10.0) -> AuctionMachine:
    return AuctionMachine(AuctionRules(slots_wanted=slots, workers_max=workers, price_max=price))


def test_all_answers_close_the_round_at_once() -> None:
    auction = machine()
    assert auction.found([record("a"), record("b")], 0.0) == (CallPeer(record("a")), CallPeer(record("b")))
    assert auction.bid_received(PeerId("a"), bid(1.0), 0.1) == ()
    assert auction.bid_received(PeerId("b"), bid(2.0), 0.2) == (
        AwardBid(PeerId("a"), bid(1.0), 1.0, 1),
        AwardBid(PeerId("b"), bid(2.0), 2.0, 1),
    )


def test_a_silent_peer_does_not_hold_the_round_up() -> None:
    auction = machine()
    auction.found([record("a"), record("mute")], 0.0)
    assert auction.bid_received(PeerId("a"), bid(1.0), 0.1) == ()
    assert auction.next_deadline() == BID_WINDOW_S
    assert auction.tick(BID_WINDOW_S) == (AwardBid(PeerId("a"), bid(1.0), 1.0, 1),)


def test_the_winner_is_paid_what_the_first_loser_makes_it_worth() -> None:
    auction = machine(workers=1)
    auction.found([record("cheap"), record("dear")], 0.0)
    auction.bid_received(PeerId("dear"), bid(3.0), 0.1)
    won, lost = auction.bid_received(PeerId("cheap"), bid(1.0), 0.2)
    assert won == AwardBid(PeerId("cheap"), bid(1.0), 3.0, 1)
    assert lost == DeclineBid(PeerId("dear"), bid(3.0))


def test_a_bid_above_the_maximum_loses() -> None:
    auction = machine(price=2.0)
    auction.found([record("a")], 0.0)
    assert auction.bid_received(PeerId("a"), bid(2.5), 0.1) == (DeclineBid(PeerId("a"), bid(2.5)),)


def test_policy_is_final_and_capacity_is_asked_again() -> None:
    auction = machine()
    auction.found([record("busy"), record("never")], 0.0)
    auction.refused(PeerId("busy"), RefusalReason.NO_FREE_SLOT, 0.1)
    auction.refused(PeerId("never"), RefusalReason.NOT_ACCEPTED, 0.1)
    assert auction.refusals() == {"no free slot": 1, "coordinator not accepted": 1}
    assert auction.tick(0.2) == ()
    assert auction.next_deadline() == 0.1 + RECALL_S_MIN
    assert auction.tick(0.1 + RECALL_S_MIN) == (CallPeer(record("busy")),)


def test_a_worker_that_left_is_called_again_but_not_a_liar() -> None:
    auction = machine()
    auction.found([record("a"), record("liar")], 0.0)
    auction.bid_received(PeerId("a"), bid(1.0), 0.1)
    auction.bid_received(PeerId("liar"), bid(1.0), 0.1)
    auction.left(PeerId("a"), "gone", 1.0)
    auction.left(PeerId("liar"), "caught lying", 1.0, for_good=True)
    assert auction.tick(1.0 + RECALL_S_MIN) == (CallPeer(record("a")),)


def test_calls_are_bounded() -> None:
    auction = machine(slots=1000, workers=1000)
    called = auction.found([record(f"p{n:03}") for n in range(100)], 0.0)
    assert len(called) == CALLS_CONCURRENT_MAX
    more = auction.unreachable(PeerId("p000"), "timed out", 0.1)
    assert more == (CallPeer(record("p016")),)


def test_nobody_is_called_when_the_slots_are_filled() -> None:
    auction = machine(slots=2)
    auction.found([record("a")], 0.0)
    auction.bid_received(PeerId("a"), bid(1.0, slots=4), 0.1)
    assert auction.candidates[PeerId("a")].state is CandidateState.AWARDED
    assert auction.found([record("b")], 1.0) == ()


def test_no_deadline_has_passed_while_all_calls_are_taken() -> None:
    auction = machine(slots=100, workers=100)
    auction.found([record("rests")], 0.0)
    auction.unreachable(PeerId("rests"), "timeout", 0.0)
    auction.found([record(f"mute{n:02}") for n in range(CALLS_CONCURRENT_MAX)], 0.1)
    now = RECALL_S_MIN + BID_WINDOW_S + 1.0
    assert auction.tick(now) == ()
    assert (auction.next_deadline() or float("inf")) > now
    assert auction.unreachable(PeerId("mute00"), "timeout", now) == (CallPeer(record("rests")),)


@given(
    prices=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=20),
    speeds=st.lists(st.floats(0.1, 8.0), min_size=20, max_size=20),
    places=st.integers(1, 5),
)
def test_winners_are_the_best_scores_and_never_paid_under_their_bid(
    prices: list[float], speeds: list[float], places: int
) -> None:
    auction = machine(slots=1000, workers=places)
    names = [f"p{n:02}" for n in range(len(prices))]
    called = {one.record.peer for one in auction.found(map(record, names), 0.0) if isinstance(one, CallPeer)}
    effects: list[object] = []
    for name, price, speed in zip(names, prices, speeds, strict=False):
        if PeerId(name) in called:
            effects += auction.bid_received(PeerId(name), bid(price, speed=speed), 0.1)
    effects += auction.tick(BID_WINDOW_S)
    won = [one for one in effects if isinstance(one, AwardBid)]
    lost = [one for one in effects if isinstance(one, DeclineBid)]
    assert all(one.bid.price <= one.price <= 10.0 for one in won)
    worst = max(score(Terms(one.bid.price, one.bid.speed)) for one in won)
    assert all(score(Terms(one.bid.price, one.bid.speed)) >= worst for one in lost)


@given(price=st.floats(0.0, 10.0), speed=st.floats(0.1, 8.0), margin=st.floats(0.0, 5.0))
def test_the_clearing_price_makes_the_winner_equal_to_the_loser(price: float, speed: float, margin: float) -> None:
    terms = Terms(price, speed)
    losing = score(terms) + margin
    paid = clearing_price(terms, losing, 1e9)
    assert abs(score(Terms(paid, speed)) - losing) < 1e-6 * (1 + losing)


def test_peers_that_never_answer_do_not_keep_others_from_a_call() -> None:
    auction = machine()
    mute = [record(f"a{n:02}") for n in range(CALLS_CONCURRENT_MAX)]
    assert len(auction.found([*mute, record("z")], 0.0)) == CALLS_CONCURRENT_MAX
    auction.tick(BID_WINDOW_S)
    assert auction.next_deadline() == ANSWER_S_MAX
    effects = auction.tick(ANSWER_S_MAX)
    hung_up = {one.peer for one in effects if isinstance(one, HangUp)}
    assert hung_up == {one.peer for one in mute}
    assert [one.record.peer for one in effects if isinstance(one, CallPeer)] == ["z"]
    assert auction.candidates[mute[0].peer].reason == "no answer to the call in 20 s"
    assert auction.tick(ANSWER_S_MAX + RECALL_S_MAX - 0.1) == ()


def test_a_winner_that_falls_silent_before_it_is_ready_makes_room() -> None:
    auction = machine(slots=1)
    auction.found([record("a")], 0.0)
    assert auction.bid_received(PeerId("a"), bid(1.0), 1.0) == (AwardBid(PeerId("a"), bid(1.0), 1.0, 1),)
    assert auction.found([record("b")], 2.0) == (), "its slot is all that is wanted"
    auction.heard(PeerId("a"), 5.0)
    assert auction.tick(1.0 + SILENCE_S_MAX) == (), "it lives"
    assert auction.tick(5.0 + SILENCE_S_MAX) == (
        HangUp(PeerId("a"), "won, but was not ready in time"),
        CallPeer(record("b")),
    )


def test_a_winner_that_lives_but_is_never_ready_makes_room_in_the_end() -> None:
    auction = machine(slots=1)
    auction.found([record("a")], 0.0)
    auction.bid_received(PeerId("a"), bid(1.0), 1.0)
    auction.heard(PeerId("a"), PREPARE_S_MAX)
    assert auction.next_deadline() == 1.0 + PREPARE_S_MAX
    assert [type(one) for one in auction.tick(1.0 + PREPARE_S_MAX)] == [HangUp]


def test_who_is_ready_is_no_longer_watched_here() -> None:
    auction = machine(slots=1)
    auction.found([record("a")], 0.0)
    auction.bid_received(PeerId("a"), bid(1.0), 1.0)
    auction.ready(PeerId("a"))
    auction.heard(PeerId("a"), 2.0)
    assert auction.next_deadline() is None
    assert auction.tick(1e6) == ()
