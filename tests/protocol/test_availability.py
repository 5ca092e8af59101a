"""When a worker may work: schedules over midnight, presence, battery, pause, a clock that jumps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.availability import (
    ALWAYS,
    IDLE_S_MIN,
    QUIET_S_MIN,
    AvailabilityRules,
    Moment,
    Schedule,
    UseWatch,
    Window,
    parse_schedule,
    why_not,
)
from protocol.errors import LocalError

minutes = st.integers(0, 1439)
windows = st.builds(Window, minutes, minutes).filter(lambda one: one.start != one.stop)


@given(windows, minutes)
def test_a_window_and_its_reverse_split_the_day(window, minute):
    reverse = Window(window.stop, window.start)
    assert window.is_open(minute) != reverse.is_open(minute)


@given(windows, minutes, st.integers(1, 1439))
def test_a_window_is_one_span_whatever_the_hour_it_begins_at(window, minute, shift):
    moved = Window((window.start + shift) % 1440, (window.stop + shift) % 1440)
    assert window.is_open(minute) == moved.is_open((minute + shift) % 1440)


@given(st.lists(windows, min_size=1, max_size=8), minutes)
def test_a_schedule_is_open_when_one_of_its_windows_is(some, minute):
    schedule = Schedule(tuple(some))
    assert schedule.is_open(minute) == any(one.is_open(minute) for one in some)
    assert parse_schedule(str(schedule)) == schedule


@given(minutes)
def test_without_a_schedule_any_time_is_right(minute):
    assert parse_schedule("always") == ALWAYS and ALWAYS.is_open(minute)
    assert parse_schedule("00:00-24:00").is_open(minute)


def test_the_last_minute_is_not_in_a_window_and_the_first_is():
    night = parse_schedule("22:00-07:00")
    assert [night.is_open(hour * 60) for hour in (21, 22, 23, 0, 6, 7, 12)] == [
        False, True, True, True, True, False, False,
    ]  # fmt: skip
    assert parse_schedule(" 22:00 - 24:00, 1:30-2:00 ") == Schedule((Window(1320, 1440), Window(90, 120)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "takes hours such as 22:00-07:00"),
        ("night", "not 'night'"),
        ("22-7", "not '22-7'"),
        ("25:00-07:00", "no such time of day"),
        ("22:60-07:00", "no such time of day"),
        ("08:00-08:00", "is empty"),
        ("24:00-00:00", "is empty"),
        ("22:00-07:00,", "not ''"),
        (",".join(["01:00-02:00"] * 17), "at most 16"),
    ],
)
def test_what_is_no_schedule_says_what_one_is(text, message):
    with pytest.raises(LocalError, match=message):
        parse_schedule(text)


def test_the_first_reason_that_holds_is_told():
    rules = AvailabilityRules(schedule=parse_schedule("22:00-07:00"), when_idle=True)
    night = {"minute": 1380, "idle_s": 1000.0, "on_battery": False}
    assert why_not(rules, Moment(**night)) is None
    assert why_not(rules, Moment(**night | {"paused": True, "minute": 720})) == "paused by its owner"
    assert why_not(rules, Moment(**night | {"minute": 720})) == "outside its hours (22:00-07:00)"
    assert why_not(rules, Moment(**night | {"on_battery": True})) == "on battery"
    assert why_not(rules, Moment(**night | {"idle_s": IDLE_S_MIN - 1})) == "in use by its owner"
    assert "cannot tell" in str(why_not(rules, Moment(**night | {"idle_s": None})))


def test_use_and_battery_matter_only_as_far_as_the_owner_says():
    moment = Moment(minute=0, idle_s=0.0, on_battery=True)
    assert why_not(AvailabilityRules(on_battery=True), moment) is None
    assert why_not(AvailabilityRules(), Moment(minute=0)) is None


def look(watch: UseWatch, now: float, wall: float, touched: float | None = None, **signs: object) -> float | None:
    values = {"touched_unix_s": touched, "in_use": None, "load": None, "now_unix_s": wall, "now": now}
    watch.observe(**(values | signs))  # type: ignore[arg-type]
    return watch.idle_s(now)


def test_a_clock_stepped_by_an_hour_is_neither_use_nor_idleness():
    watch = UseWatch()
    assert look(watch, 0.0, 10_000.0, 9_900.0) == 100
    assert look(watch, 5.0, 10_005.0 + 3600, 9_900.0) == 105
    assert look(watch, 10.0, 10_010.0 - 3600, 9_900.0) == 110
    assert look(watch, 15.0, 10_015.0 - 3600, 10_014.0 - 3600) == 0, "a touch after the step"
    assert look(watch, 115.0, 10_115.0, 10_014.0 - 3600) == 100


def test_a_time_of_the_last_touch_in_the_future_is_a_touch_now():
    assert look(UseWatch(), 50.0, 1_000.0, 2_000.0) == 0


def test_a_session_in_use_begins_the_wait_anew():
    watch = UseWatch()
    assert look(watch, 0.0, 1_000.0, 0.0) == 1000
    assert look(watch, 130.0, 1_130.0, 0.0, in_use=True) == 0
    assert look(watch, 140.0, 1_140.0, 0.0, in_use=False) == 10


def test_load_of_others_is_told_apart():
    watch = UseWatch()
    assert look(watch, 0.0, 1_000.0, 0.0, load=0.2) == 1000 and watch.quiet_s(0.0) is None
    assert look(watch, 20.0, 1_020.0, 0.0, load=0.3) == 1020 and watch.quiet_s(25.0) == 5
    busy = Moment(minute=0, idle_s=1e6, quiet_s=QUIET_S_MIN - 1)
    assert why_not(AvailabilityRules(when_idle=True), busy) == "busy with its owner's programs"
    assert why_not(AvailabilityRules(), busy) is None


def test_without_any_sign_nothing_is_claimed():
    watch = UseWatch()
    assert look(watch, 0.0, 0.0) is None
    assert look(watch, 1000.0, 0.0, load=0.9) is None, "load alone tells of no owner"
    assert look(watch, 2000.0, 0.0, in_use=False) == 0
    assert look(watch, 2200.0, 0.0, in_use=False) == 200
