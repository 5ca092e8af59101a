"""Asks every few seconds whether the worker may work, and tells worker and directory when that changes."""

from collections.abc import Callable
from math import inf
from time import localtime
from typing import TYPE_CHECKING

import trio

from peer.presence import Senses, Signs
from peer.views import AvailabilityView
from protocol.availability import AvailabilityRules, Moment, UseWatch, why_not
from protocol.errors import LocalError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

ASK_INTERVAL_S = 5.0
PAUSE_S_MAX = 30 * 86400.0

OnChange = Callable[[str | None], None]


class Availability:
    """`run` asks; `on_change` is told, without waiting, why the worker may not work, or None when it may.

    A pause lasts as long as the owner said, in monotonic time, and ends with the peer at the latest.
    """

    def __init__(
        self, rules: AvailabilityRules, senses: Senses, wall_clock: Callable[[], float], on_change: OnChange
    ) -> None:
        self._rules = rules
        self._senses = senses
        self._wall_clock = wall_clock
        self._on_change = on_change
        self._use = UseWatch()
        self._signs = Signs()
        self._paused_until = -inf
        self._why: str | None = None

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; the first answer is there before it has started."""
        await self._look()
        task_status.started()
        while True:
            pause_left_s = self._paused_until - trio.current_time()
            await trio.sleep(min(ASK_INTERVAL_S, pause_left_s if pause_left_s > 0 else inf))
            await self._look()

    def pause(self, seconds: float | None) -> None:
        """No work for so long, or until `resume`; in force at once. Raises `LocalError` for a time out of range."""
        if seconds is not None and not 0 < seconds <= PAUSE_S_MAX:
            raise LocalError(f"a pause lasts at most {PAUSE_S_MAX / 86400:.0f} days")
        self._paused_until = inf if seconds is None else trio.current_time() + seconds
        self._decide()

    def resume(self) -> None:
        """The owner's pause is over; the other rules stay in force."""
        self._paused_until = -inf
        self._decide()

    def view(self) -> AvailabilityView:
        """What holds now."""
        left_s = self._paused_until - trio.current_time()
        return AvailabilityView(why_not=self._why, paused_for_s=left_s if 0 < left_s < inf else None)

    async def _look(self) -> None:
        signs = self._signs = await self._senses.look()
        self._use.observe(
            touched_unix_s=signs.touched_unix_s,
            in_use=signs.in_use,
            load=signs.load,
            now_unix_s=self._wall_clock(),
            now=trio.current_time(),
        )
        self._decide()

    def _decide(self) -> None:
        local, now = localtime(self._wall_clock()), trio.current_time()
        moment = Moment(
            minute=local.tm_hour * 60 + local.tm_min,
            idle_s=self._use.idle_s(now),
            quiet_s=self._use.quiet_s(now),
            on_battery=self._signs.on_battery,
            paused=now < self._paused_until,
        )
        before, self._why = self._why, why_not(self._rules, moment)
        if before != self._why:
            self._on_change(self._why)
