"""What is remembered of a peer from job to job: clean results fade, lies cost all of them, bans double and end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.trust import (
    BAN_S,
    BAN_S_MAX,
    CLEAN_HALF_LIFE_S,
    COOL_DOWN_S,
    FAULTY_CLEAN_MIN,
    TrustRecord,
    after_ban,
    after_clean,
    after_wrong,
    looks_faulty,
)

times = st.floats(0, 1e9)


def test_half_of_the_clean_results_count_after_the_half_life() -> None:
    record = after_clean(TrustRecord("p"), 100, 3, 1000.0)
    assert record.clean_at(1000.0) == 100 and record.audits == 3
    assert record.clean_at(1000.0 + CLEAN_HALF_LIFE_S) == pytest.approx(50)
    assert after_clean(record, 10, 0, 1000.0 + CLEAN_HALF_LIFE_S).clean == pytest.approx(60)


@given(st.floats(0, 1e6), times, times)
def test_clean_results_only_fade(clean: float, then: float, later: float) -> None:
    record = after_clean(TrustRecord("p"), clean, 0, then)
    assert 0 <= record.clean_at(then + later) <= record.clean_at(then)
    assert record.clean_at(then - later) == record.clean  # a clock that was set back


@given(st.integers(1, 40))
def test_each_lie_costs_all_trust_and_bans_for_twice_as_long(lies: int) -> None:
    record, now = after_clean(TrustRecord("p"), 50, 0, 0.0), 0.0
    for number in range(lies):
        record = after_wrong(record, "a lie", now)
        ban_s = min(BAN_S_MAX, BAN_S * 2**number)
        assert record.clean == 0 and record.banned_until_unix_s == pytest.approx(now + ban_s)
        assert record.is_banned(now + 0.99 * ban_s) and not record.is_banned(now + 1.01 * ban_s)
        now += 1.01 * ban_s
    assert record.offences == lies


def test_one_wrong_result_after_very_many_right_ones_is_a_fault_and_a_second_one_is_none() -> None:
    record = after_clean(TrustRecord("p"), FAULTY_CLEAN_MIN, 0, 0.0)
    assert looks_faulty(record, 0.0) and not looks_faulty(record, CLEAN_HALF_LIFE_S)
    record = after_wrong(record, "wrong once", 0.0)
    assert record.banned_until_unix_s == COOL_DOWN_S and record.clean == 0
    record = after_clean(record, 10 * FAULTY_CLEAN_MIN, 0, COOL_DOWN_S)
    assert not looks_faulty(record, COOL_DOWN_S)
    assert after_wrong(record, "again", COOL_DOWN_S).banned_until_unix_s > BAN_S


def test_a_shorter_ban_does_not_end_a_longer_one_and_no_pair_survives_it() -> None:
    record = after_ban(TrustRecord("p", paired=True), "first", 100.0)
    assert after_ban(record, "second", 50.0).banned_until_unix_s == 100.0
    assert not record.paired
