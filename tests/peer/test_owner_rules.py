"""The driver of the owner's rules in virtual time: what the worker and its coordinators are told, and when."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from worker_fakes import Stage, stage

from peer.availability import ASK_INTERVAL_S, Availability
from peer.presence import MachineSenses, Signs, load_between, parse_idle_hint, touch_times
from protocol.availability import AvailabilityRules, parse_schedule
from protocol.errors import LocalError, Unavailable
from protocol.messages.job import Bid, Leaving, Refusal, RefusalReason, Results


class FakeSenses:
    def __init__(self, **signs: object) -> None:
        self.signs = Signs(**signs)  # type: ignore[arg-type]

    async def look(self) -> Signs:
        await trio.lowlevel.checkpoint()
        return self.signs


class Clock:
    """A wall clock that can be stepped; it begins at this time of day."""

    def __init__(self, hour: int) -> None:
        self.offset_s = time.mktime((2025, 1, 15, hour, 0, 0, 0, 0, -1)) - trio.current_time()

    def __call__(self) -> float:
        return trio.current_time() + self.offset_s


@asynccontextmanager
async def driven(senses: FakeSenses, clock: Clock | None = None, **rules: object) -> AsyncIterator[SimpleNamespace]:
    changes: list[str | None] = []
    one = Availability(AvailabilityRules(**rules), senses, clock or Clock(12), changes.append)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        yield SimpleNamespace(availability=one, changes=changes)
        nursery.cancel_scope.cancel()


async def test_work_ends_with_use_and_begins_again_after_three_minutes(autojump_clock):
    clock = Clock(12)
    senses = FakeSenses(touched_unix_s=clock() - 1000)
    async with driven(senses, clock, when_idle=True) as it:
        assert it.changes == []
        senses.signs = Signs(touched_unix_s=clock())
        await trio.sleep(ASK_INTERVAL_S + 1)
        assert it.changes == ["in use by its owner"]
        await trio.sleep(170)
        assert it.changes == ["in use by its owner"]
        await trio.sleep(20)
        assert it.changes == ["in use by its owner", None]


async def test_busy_programs_of_the_owner_are_waited_for_a_minute(autojump_clock):
    senses = FakeSenses(in_use=False, load=0.5)
    async with driven(senses, when_idle=True) as it:
        await trio.sleep(300)
        assert it.changes == ["in use by its owner", "busy with its owner's programs"]
        senses.signs = Signs(in_use=False, load=0.1)
        await trio.sleep(70)
        assert it.changes[2:] == [None]


async def test_battery_and_hours_and_a_clock_that_is_stepped(autojump_clock):
    clock = Clock(21)
    senses = FakeSenses()
    async with driven(senses, clock, schedule=parse_schedule("22:00-07:00")) as it:
        assert it.changes == ["outside its hours (22:00-07:00)"], "known before it has started"
        clock.offset_s += 3600
        await trio.sleep(ASK_INTERVAL_S + 1)
        assert it.changes[1:] == [None]
        clock.offset_s -= 3600
        await trio.sleep(ASK_INTERVAL_S + 1)
        assert it.changes[2:] == ["outside its hours (22:00-07:00)"]
        await trio.sleep(3600)
        assert it.changes[3:] == [None]
        senses.signs = Signs(on_battery=True)
        await trio.sleep(ASK_INTERVAL_S + 1)
        assert it.changes[4:] == ["on battery"]


async def test_a_pause_holds_at_once_and_ends_on_time_or_when_told(autojump_clock):
    async with driven(FakeSenses()) as it:
        it.availability.pause(7200)
        assert it.changes == ["paused by its owner"]
        assert it.availability.view().paused_for_s == 7200
        await trio.sleep(7199)
        assert it.availability.view().why_not == "paused by its owner"
        await trio.sleep(2)
        assert it.changes == ["paused by its owner", None]
        it.availability.pause(None)
        await trio.sleep(80_000)
        assert it.availability.view().paused_for_s is None
        it.availability.resume()
        assert it.changes[2:] == ["paused by its owner", None]
        with pytest.raises(LocalError, match="at most 30 days"):
            it.availability.pause(31 * 86400.0)


async def test_a_paused_worker_hands_back_what_it_runs_and_what_it_has_done(autojump_clock):
    async with stage() as scene:
        coordinator = await scene.coordinator()
        await coordinator.lease()
        await coordinator.assign({1: b"a", 2: b"hang"})
        await scene.executor.wait_started(b"hang")
        scene.worker.suspend("paused by its owner")
        done = await coordinator.next()
        assert isinstance(done, Results) and [one.chunk for one in done.results] == [1]
        leaving = await coordinator.next()
        assert isinstance(leaving, Leaving) and leaving.reason == "paused by its owner"
        await scene.until(lambda it: it.executor.open == 0)
        assert b"hang" in scene.executor.ended
        await refused_then_served(scene)


async def refused_then_served(scene: Stage) -> None:
    coordinator = await scene.coordinator()
    refusal = await coordinator.call()
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (RefusalReason.PAUSED, "paused by its owner")
    scene.worker.resume()
    assert isinstance(await coordinator.call(), Bid), "on the same stream"


async def test_a_bid_that_is_out_is_taken_back(autojump_clock):
    async with stage() as scene:
        coordinator = await scene.coordinator()
        bid = await coordinator.call()
        scene.worker.suspend("on battery")
        refusal = await coordinator.next()
        assert isinstance(refusal, Refusal) and refusal.detail == "on battery"
        refusal = await coordinator.award(bid)
        assert isinstance(refusal, Refusal) and refusal.reason is RefusalReason.BID_UNKNOWN


async def test_a_worker_that_is_suspended_can_still_stop(autojump_clock):
    async with stage() as scene:
        coordinator = await scene.coordinator()
        scene.worker.suspend("on battery")
        scene.worker.suspend("in use by its owner")
        assert scene.worker.suspended == "in use by its owner"
        await scene.worker.stop_politely()
        with pytest.raises(Unavailable):
            await coordinator.next()


# What is seen of the machine.


def test_only_reading_from_a_terminal_is_use(tmp_path: Path):
    (tmp_path / "pts").mkdir()
    (tmp_path / "input").mkdir()
    for name, read, written in (
        ("pts/3", 100, 900),
        ("tty1", 200, 800),
        ("pts/ptmx", 999, 999),
        ("input/event0", 5, 7),
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (read, written))
    assert sorted(touch_times(tmp_path)) == [7, 100, 200]


async def test_a_machine_without_terminals_tells_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    signs = await MachineSenses(watch_use=True, watch_load=True, devices=tmp_path).look()
    assert (signs.touched_unix_s, signs.in_use) == (None, None)
    assert signs.load is None or 0 <= signs.load <= 1


async def test_logind_is_asked_and_may_fail(tmp_path: Path, monkeypatch):
    program = tmp_path / "loginctl"
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    senses = MachineSenses(watch_use=True, watch_load=False, devices=tmp_path)
    assert (await senses.look()).in_use is None, "not there any more"
    program.write_text("#!/bin/sh\necho IdleHint=no\n")
    program.chmod(0o755)
    signs = await senses.look()
    assert (signs.in_use, signs.load) == (True, None)


@pytest.mark.parametrize(
    ("text", "in_use"),
    [
        ("IdleHint=yes\n", False),
        ("IdleHint=no\n", True),
        ("", None),
        ("Failed: no bus\n", None),
        ("XIdleHint=no", None),
    ],
)
def test_the_idle_hint(text: str, in_use: bool | None):
    assert parse_idle_hint(text) is in_use


def test_the_load_of_runners_is_not_in_the_load_of_others():
    before = SimpleNamespace(user=10.0, nice=50.0, system=5.0, idle=100.0)
    after = SimpleNamespace(user=11.0, nice=53.0, system=6.0, idle=105.0)
    assert load_between(before, after) == pytest.approx(0.2)
    assert load_between(before, before) is None


async def test_the_battery_of_the_machine(monkeypatch):
    for plugged, expected in ((True, False), (False, True), (None, None)):
        battery = SimpleNamespace(power_plugged=plugged)
        monkeypatch.setattr("psutil.sensors_battery", lambda battery=battery: battery, raising=False)
        assert (await MachineSenses(watch_use=False, watch_load=False).look()).on_battery is expected
