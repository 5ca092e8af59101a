"""What the owner of a peer may set: each key, how it is written, what it means. Imports nothing heavy.

The same text serves on the command line (`--max-cpu 50%`) and in the file (`max-cpu = "50%"`).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from peer.accept import Accept
from protocol.availability import ALWAYS, Schedule, parse_schedule
from protocol.errors import LocalError
from protocol.limits import CHUNKS_PER_BATCH_MAX, MIB
from protocol.requirements import STRONG_SANDBOXES, WEAK_SANDBOXES, parse_size

PROGRAM_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z"
NICE_DEFAULT = 19
"""BOINC's: whatever the owner does goes first."""
MEMORY_BYTES_MIN = 64 * MIB
MEMORY_BYTES_MAX = 2**50
MAX_CPU_MIN = 0.05
PRICE_MAX = 1e6
SANDBOX_AUTO = "auto"
"""The strongest that works."""
SANDBOXES = (SANDBOX_AUTO, *STRONG_SANDBOXES, *WEAK_SANDBOXES)

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSettings:
    """What the owner allows; None where it follows from the machine."""

    cores: int | None = None
    memory: int | None = None
    """Bytes, for all work of others together."""
    price: float = 1.0
    schedule: Schedule = ALWAYS
    when_idle: bool = False
    on_battery: bool = False
    max_cpu: float = 1.0
    """The share of the time that a runner may compute."""
    accept: Accept = Accept.ANYONE
    runtimes: tuple[str, ...] | None = None
    programs: tuple[str, ...] | None = None
    """Which the command runtime offers, of those that are installed."""
    nice: int = NICE_DEFAULT
    sandbox: str = SANDBOX_AUTO


def settings_from(file: Mapping[str, str], command_line: Mapping[str, str]) -> OwnerSettings:
    """The command line beats the file, the file beats the defaults; raises `LocalError` that names the place."""
    values = {**_parsed(file, "config.toml: "), **_parsed(command_line, "--")}
    return OwnerSettings(**{key.replace("-", "_"): value for key, value in values.items()})  # type: ignore[arg-type]


def _parsed(texts: Mapping[str, str], place: str) -> dict[str, object]:
    return {key: parse_setting(key, text, f"{place}{key}") for key, text in texts.items()}


def parse_setting(key: str, text: str, called: str) -> object:
    """One value from its text; raises `LocalError` that begins with what the setting is `called` there."""
    if key not in KEYS:
        raise LocalError(f"{called} is no setting; there are {', '.join(KEYS)}")
    try:
        return KEYS[key](text.strip())
    except LocalError as error:
        raise LocalError(f"{called} {error}") from error


def parse_share(text: str) -> float:
    """`25%` or `0.25`; raises `LocalError`."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*(%?)", text.strip(), re.ASCII)
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= share <= 1:
        raise LocalError(f"takes a share such as 50% or 0.5, not {text!r}")
    return share


def parse_time(text: str, seconds_max: float) -> float:
    """Seconds from `90s`, `30m`, `2h` or `1d`; raises `LocalError`."""
    found = re.fullmatch(r"(\d{1,7}(?:\.\d{1,3})?)([smhd])", text.strip(), re.ASCII)
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= seconds_max:
        raise LocalError(f"takes a time such as 90s, 30m, 2h or 1d (at most {seconds_max / 86400:.0f}d), not {text!r}")
    return seconds


def _number(low: float, high: float, what: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise LocalError(f"takes {what} from {low:g} to {high:g}, not {text!r}")
        return number

    return parse


def _whole(low: int, high: int, what: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not low <= int(text) <= high:
            raise LocalError(f"takes {what} from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def _memory(text: str) -> int:
    size = parse_size(text)
    if not MEMORY_BYTES_MIN <= size <= MEMORY_BYTES_MAX:
        raise LocalError(f"takes at least {MEMORY_BYTES_MIN // MIB}M, such as 8G, not {text!r}")
    return size


def _max_cpu(text: str) -> float:
    share = parse_share(text)
    if share < MAX_CPU_MIN:
        raise LocalError(
            f"takes at least {MAX_CPU_MIN:.0%}, not {text!r}; --cores 0 offers nothing, `peer pause` waits"
        )
    return share


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise LocalError(f"takes true or false, not {text!r}")
    return text.lower() == "true"


def _accept(text: str) -> Accept:
    if text not in tuple(Accept):
        raise LocalError(f"takes {', '.join(Accept)}, not {text!r}")
    return Accept(text)


def _runtimes(text: str) -> tuple[str, ...]:
    from peer.runtimes.registry import runtime_names

    names, known = tuple(part.strip() for part in text.split(",")), runtime_names()
    if unknown := [name for name in names if name.partition(":")[0] not in known]:
        raise LocalError(f"takes runtimes out of {', '.join(known)}, not {unknown[0]!r}")
    return tuple(dict.fromkeys(names))


def _programs(text: str) -> tuple[str, ...]:
    from peer.runtimes.base import PROGRAMS_MAX

    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(names) > PROGRAMS_MAX:
        raise LocalError(f"takes at most {PROGRAMS_MAX} programs")
    if wrong := [name for name in names if not re.match(PROGRAM_PATTERN, name)]:
        raise LocalError(f"takes names of programs such as ffmpeg,convert, not {wrong[0]!r}")
    return tuple(dict.fromkeys(names))


def _sandbox(text: str) -> str:
    if text not in SANDBOXES:
        raise LocalError(f"takes {', '.join(SANDBOXES)}, not {text!r}")
    return text


KEYS: Mapping[str, Callable[[str], object]] = {
    "cores": _whole(0, CHUNKS_PER_BATCH_MAX, "a number"),
    "memory": _memory,
    "price": _number(0, PRICE_MAX, "a number"),
    "schedule": parse_schedule,
    "when-idle": _yes_or_no,
    "on-battery": _yes_or_no,
    "max-cpu": _max_cpu,
    "accept": _accept,
    "runtimes": _runtimes,
    "programs": _programs,
    "nice": _whole(0, 19, "a number"),
    "sandbox": _sandbox,
}
"""How each setting is parsed. Parsers raise `LocalError` that goes on where the name of the setting ends."""
