"""One timer over pure machines."""

import trio
import trio.testing

from peer.deadline import TICK_INTERVAL_S_MIN, DeadlineTimer


async def test_ticks_when_the_deadline_comes_and_when_it_moves(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    due: list[float] = [5.0]
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(trio.current_time())
        due.pop()

    timer = DeadlineTimer(lambda: due[-1] if due else None, tick)
    nursery.start_soon(timer.run)
    with trio.move_on_after(6.0):
        await trio.sleep_forever()
    due.append(8.0)
    timer.rearm()
    with trio.move_on_after(6.0):
        await trio.sleep_forever()
    assert ticks == [5.0, 8.0]


async def test_a_deadline_that_no_tick_moves_does_not_spin(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ticks: list[float] = []
    nursery.start_soon(DeadlineTimer(lambda: 1.0, lambda: ticks.append(trio.current_time())).run)
    with trio.move_on_after(1.0 + 10.5 * TICK_INTERVAL_S_MIN):
        await trio.sleep_forever()
    assert len(ticks) == 11
