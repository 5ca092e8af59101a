"""One timer over pure machines: sleeps until the soonest of their deadlines, and again when it moves."""

import math
from collections.abc import Callable

import trio

TICK_INTERVAL_S_MIN = 0.001


class DeadlineTimer:
    """Calls `tick` when `next_deadline()` (trio's clock; None for never) has come.

    `rearm` must be called after every event that can move the deadline; it is cheap when it has not.
    """

    def __init__(self, next_deadline: Callable[[], float | None], tick: Callable[[], None]) -> None:
        self._next_deadline = next_deadline
        self._tick = tick
        self._armed_for = math.inf
        self._moved = trio.Event()

    def rearm(self) -> None:
        """Wake the timer when the soonest deadline is another one than it sleeps for."""
        if self._soonest() < self._armed_for:
            self._moved.set()

    async def run(self) -> None:
        """Until cancelled."""
        earliest = -math.inf
        while True:
            self._moved = trio.Event()
            self._armed_for = max(self._soonest(), earliest)
            with trio.move_on_at(self._armed_for):
                await self._moved.wait()
            if trio.current_time() >= self._soonest():
                self._tick()
                # A deadline that a tick does not move must not make this spin.
                earliest = trio.current_time() + TICK_INTERVAL_S_MIN

    def _soonest(self) -> float:
        deadline = self._next_deadline()
        return math.inf if deadline is None else deadline
