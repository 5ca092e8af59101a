"""When a worker may work for others: its owner's hours, presence, battery and pause. Pure decisions.

Only the present moment counts: nothing is added up from the wall clock, so a clock that is stepped, or the
change to summer time, moves the hours with it and breaks nothing.
"""

import re
from dataclasses import dataclass

from protocol.errors import LocalError

DAY_MINUTES = 1440
WINDOWS_MAX = 16
"""Spans of time in one schedule."""
IDLE_S_MIN = 180.0
"""After its owner's last touch a machine rests for so long; BOINC's default."""
QUIET_S_MIN = 60.0
"""After other programs were busy; shorter, since they come and go by themselves."""
OTHERS_LOAD_MAX = 0.25
"""Share of all cores that other programs use while the machine still counts as idle; BOINC's default."""

_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)
_FORM = "hours such as 22:00-07:00, several of them with commas"


@dataclass(frozen=True, slots=True)
class Window:
    """From one minute of the day up to another one; over midnight where the second is the smaller."""

    start: int
    stop: int

    def is_open(self, minute: int) -> bool:
        """Whether that minute of the day (0 to 1439) lies in it."""
        if self.start < self.stop:
            return self.start <= minute < self.stop
        return minute >= self.start or minute < self.stop

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.stop)}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows, in the time of the machine's own time zone; none of them: at any time."""

    windows: tuple[Window, ...] = ()

    def is_open(self, minute: int) -> bool:
        """Whether work is allowed at that minute of the day."""
        return not self.windows or any(window.is_open(minute) for window in self.windows)

    def __str__(self) -> str:
        return ", ".join(map(str, self.windows)) or "always"


ALWAYS = Schedule()


def parse_schedule(text: str) -> Schedule:
    """`22:00-07:00,12:00-13:00` or `always`; raises `LocalError` that says what was expected."""
    if text.strip() == "always":
        return ALWAYS
    windows = tuple(_window(part.strip()) for part in text.split(","))
    if len(windows) > WINDOWS_MAX:
        raise LocalError(f"takes at most {WINDOWS_MAX} spans of time, not {len(windows)}")
    return Schedule(windows)


def _window(text: str) -> Window:
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise LocalError(f"takes {_FORM}, or `always`, not {text!r}")
    start, stop = (_minute(found[n], found[n + 1], text) for n in (1, 3))
    if start % DAY_MINUTES == stop % DAY_MINUTES and (start, stop) != (0, DAY_MINUTES):
        raise LocalError(f"takes {_FORM}; {text!r} is empty (the whole day is 00:00-24:00)")
    return Window(start % DAY_MINUTES, stop)


def _minute(hour: str, minute: str, text: str) -> int:
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > DAY_MINUTES:
        raise LocalError(f"takes {_FORM}; {text!r} has no such time of day")
    return value


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityRules:
    """What the owner allows."""

    schedule: Schedule = ALWAYS
    when_idle: bool = False
    """Only while nobody uses the machine."""
    on_battery: bool = False
    """Also without mains power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is known of the machine at one moment."""

    minute: int
    """Of the day, in the machine's time zone."""
    idle_s: float | None = None
    """Since anybody used the machine; None where that cannot be told."""
    quiet_s: float | None = None
    """Since other programs were busy; None while they never were, or that cannot be told."""
    on_battery: bool | None = None
    """None where there is no battery, or it cannot be told."""
    paused: bool = False
    """Whether the owner has said so."""


def why_not(rules: AvailabilityRules, moment: Moment) -> str | None:
    """Why the worker may not work now, in words for its owner and for coordinators; None: it may."""
    if moment.paused:
        return "paused by its owner"
    if not rules.schedule.is_open(moment.minute):
        return f"outside its hours ({rules.schedule})"
    if moment.on_battery and not rules.on_battery:
        return "on battery"
    if rules.when_idle and moment.idle_s is None:
        return "it works only when idle and cannot tell whether it is in use"
    if rules.when_idle and moment.idle_s is not None and moment.idle_s < IDLE_S_MIN:
        return "in use by its owner"
    if rules.when_idle and moment.quiet_s is not None and moment.quiet_s < QUIET_S_MIN:
        return "busy with its owner's programs"
    return None


class UseWatch:
    """Joins the signs that somebody uses the machine. Times are monotonic, but for `touched_unix_s`.

    The wall-clock time of the last touch is only compared with itself: a touch is that it has changed.
    """

    def __init__(self) -> None:
        self._touched_unix_s: float | None = None
        self._used_at: float | None = None
        self._busy_at: float | None = None

    def observe(
        self, *, touched_unix_s: float | None, in_use: bool | None, load: float | None, now_unix_s: float, now: float
    ) -> None:
        """Take what was seen at this moment."""
        if touched_unix_s is not None and touched_unix_s != self._touched_unix_s:
            first = self._touched_unix_s is None
            self._touched_unix_s = touched_unix_s
            self._use(now - max(0.0, now_unix_s - touched_unix_s) if first else now)
        if in_use or (in_use is False and self._used_at is None):
            self._use(now)
        if load is not None and load > OTHERS_LOAD_MAX:
            self._busy_at = now

    def idle_s(self, now: float) -> float | None:
        """Seconds since the last sign of use; None while no sign was ever to be had."""
        return None if self._used_at is None else now - self._used_at

    def quiet_s(self, now: float) -> float | None:
        """Seconds since other programs were busy; None while they never were."""
        return None if self._busy_at is None else now - self._busy_at

    def _use(self, at: float) -> None:
        self._used_at = at if self._used_at is None else max(at, self._used_at)
