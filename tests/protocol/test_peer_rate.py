"""The token bucket of each peer: what is allowed in any stretch of time, and how many peers are remembered."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import PeerId
from protocol.peer_rate import PeerRate

BURST_MAX, PER_S_MAX = 5, 2.0
ALICE, BOB = PeerId("alice"), PeerId("bob")


@given(st.lists(st.floats(0.0, 3.0), max_size=80))
def test_never_more_than_a_burst_and_what_was_refilled(pauses_s: list[float]) -> None:
    rate = PeerRate(BURST_MAX, PER_S_MAX, 10)
    now, allowed_at = 0.0, []
    for pause_s in pauses_s:
        now += pause_s
        if rate.allow(ALICE, now):
            allowed_at.append(now)
    for first, start in enumerate(allowed_at):
        for last, end in enumerate(allowed_at[first:], first):
            assert last - first + 1 <= BURST_MAX + (end - start) * PER_S_MAX + 1e-6


def test_the_limit_is_each_peers_own_and_recovers() -> None:
    rate = PeerRate(1, 1 / 60, 10)
    assert rate.allow(ALICE, 0.0) and not rate.allow(ALICE, 1.0)
    assert rate.allow(BOB, 1.0)
    assert rate.allow(ALICE, 61.0)


def test_a_bounded_number_of_peers_is_remembered_those_that_came_last() -> None:
    rate = PeerRate(1, 1 / 60, 100)
    for number in range(110):
        assert rate.allow(PeerId(str(number)), 0.0)
    assert len(rate) == 100
    assert not rate.allow(PeerId("109"), 0.0)


def test_who_may_ask_as_much_as_anybody_again_is_forgotten() -> None:
    rate = PeerRate(BURST_MAX, PER_S_MAX, 100)
    for number in range(50):
        rate.allow(PeerId(str(number)), 0.0)
    rate.allow(ALICE, BURST_MAX / PER_S_MAX)
    assert len(rate) == 1


def test_none_are_allowed_where_none_may_be() -> None:
    assert not PeerRate(0, 0.0, 10).allow(ALICE, 1.0)
