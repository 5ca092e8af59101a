"""What can be seen of the machine's use without a display: terminals, input devices, logind, load, battery.

What it cannot see: on a desktop without logind, keyboard and mouse leave no trace in these places (the kernel
does not note the reading of /dev/input); neither does whoever only watches. Without any trace `touched_unix_s`
and `in_use` stay None, and a worker that shall work only when idle does not work.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import trio

LOGINCTL_TIMEOUT_S = 2.0
LOAD_S_MIN = 1.0
"""Of processor time, all cores together: the kernel counts in hundredths."""
_TERMINALS = ("pts/[0-9]*", "tty[0-9]*")
_INPUTS = ("input/event*", "input/mice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What was seen at one moment."""

    touched_unix_s: float | None = None
    """When somebody last typed in a terminal, or an input device changed."""
    in_use: bool | None = None
    """What logind says of all sessions together."""
    load: float | None = None
    """Share of all cores that programs of normal priority used since the last look."""
    on_battery: bool | None = None


class Senses(Protocol):
    """Looks at the machine."""

    async def look(self) -> Signs:
        """What is to be seen now; never raises, never takes longer than `LOGINCTL_TIMEOUT_S`."""


class MachineSenses:
    """The real machine. `watch_use`: look for use as well, which starts `loginctl` where there is one."""

    def __init__(self, *, watch_use: bool, watch_load: bool, devices: Path = Path("/dev")) -> None:
        self._watch_use = watch_use
        self._watch_load = watch_load
        self._devices = devices
        self._loginctl = shutil.which("loginctl") if watch_use else None
        self._cpu_times = psutil.cpu_times()

    async def look(self) -> Signs:
        """See `Senses.look`."""
        if not self._watch_use:
            return Signs(on_battery=on_battery())
        return Signs(
            touched_unix_s=max(touch_times(self._devices), default=None),
            in_use=await self._ask_logind(),
            load=self._load() if self._watch_load else None,
            on_battery=on_battery(),
        )

    async def _ask_logind(self) -> bool | None:
        if self._loginctl is None:
            return None
        command, told = [self._loginctl, "show-session", "--property=IdleHint"], ""
        with trio.move_on_after(LOGINCTL_TIMEOUT_S):
            try:
                answer = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL, check=False)
                told = answer.stdout.decode(errors="replace")
            except OSError:
                return None
        return parse_idle_hint(told)

    def _load(self) -> float | None:
        times = psutil.cpu_times()
        load = load_between(self._cpu_times, times)
        if load is not None:
            self._cpu_times = times
        return load


def parse_idle_hint(text: str) -> bool | None:
    """Whether logind takes the machine as used, from `IdleHint=yes` or `no`; None for anything else."""
    found = re.search(r"^IdleHint=(yes|no)$", text, re.MULTILINE)
    return None if found is None else found[1] == "no"


def touch_times(devices: Path) -> Iterator[float]:
    """When each device was last touched.

    Of terminals the time of reading counts: writing is what programs do, this peer among them.
    """
    for path, is_input in (
        (path, names is _INPUTS) for names in (_TERMINALS, _INPUTS) for path in _glob(devices, names)
    ):
        try:
            status = path.stat()
        except OSError:
            continue
        yield max(status.st_atime, status.st_mtime) if is_input else status.st_atime


def _glob(devices: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from devices.glob(pattern)


class CpuTimes(Protocol):
    """Seconds since boot, over all cores; programs of low priority have a figure of their own."""

    user: float
    nice: float
    system: float
    idle: float


def load_between(before: CpuTimes, after: CpuTimes) -> float | None:
    """The share of normal programs: runners have low priority, so they are not in it. None for too short a time."""
    busy, niced, idle = (
        sum(getattr(after, name) - getattr(before, name) for name in names)
        for names in (("user", "system"), ("nice",), ("idle",))
    )
    return busy / total if (total := busy + niced + idle) >= LOAD_S_MIN else None


def on_battery() -> bool | None:
    """Whether mains power is missing; None without a battery."""
    try:
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    except (OSError, RuntimeError):
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged
