"""What a job requires and may cost, from the words of the command line; each error names its option."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cli.exits import WrongUse
from protocol.errors import LocalError
from protocol.limits import MIB
from protocol.requirements import CORES_MAX, SANDBOX_NEEDS, parse_gpu, parse_size, parse_version_wanted

DEADLINE_S_MAX = 365 * 86400.0
MEMORY_BYTES_MIN = 64 * MIB
CREDITS_MAX = 1e12
TEXT_LENGTH_MAX = 256

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class NeedsTyped:
    """The options as they were typed."""

    cores: str
    memory: str
    gpu: str
    runtime_version: str
    disk: str
    sandbox: str
    max_price: str
    budget: str | None
    deadline: str | None


def parse_needs(typed: NeedsTyped) -> dict[str, object]:
    """The fields of `JobRequest` that they stand for; raises `WrongUse`."""
    from peer.owner_settings import parse_time

    return {
        "cores": _named("--cores", _cores, typed.cores),
        "memory_bytes_max": _named("--memory", _memory, typed.memory),
        "gpu": _named("--gpu", _gpu, typed.gpu) if typed.gpu else "",
        "runtime_version": _named("--runtime-version", _version, typed.runtime_version),
        "disk_bytes": _named("--disk", parse_size, typed.disk) if typed.disk else 0,
        "sandbox": _named("--sandbox", _sandbox, typed.sandbox),
        "price_max": _named("--max-price", _credits, typed.max_price),
        "budget": None if typed.budget is None else _named("--budget", _some_credits, typed.budget),
        "deadline_s": None
        if typed.deadline is None
        else _named("--deadline", lambda text: parse_time(text, DEADLINE_S_MAX), typed.deadline),
    }


def _named(option: str, parse: Callable[[str], _T], text: str) -> _T:
    try:
        if len(text) > TEXT_LENGTH_MAX:
            raise LocalError(f"takes at most {TEXT_LENGTH_MAX} characters")
        return parse(text.strip())
    except LocalError as error:
        raise WrongUse(f"{option} {error}") from error


def _cores(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= CORES_MAX:
        raise LocalError(f"takes a number from 1 to {CORES_MAX}, not {text!r}")
    return int(text)


def _memory(text: str) -> int:
    size = int(text) * MIB if text.isascii() and text.isdigit() else parse_size(text)
    if not MEMORY_BYTES_MIN <= size <= 2**50:
        raise LocalError(f"takes at least 64M, such as 4G, not {text!r}")
    return size


def _gpu(text: str) -> str:
    parse_gpu(text)
    return text


def _version(text: str) -> str:
    parse_version_wanted(text)
    return text


def _sandbox(text: str) -> str:
    if text not in SANDBOX_NEEDS:
        raise LocalError(f"takes {' or '.join(SANDBOX_NEEDS)}, not {text!r}")
    return text


def _credits(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= CREDITS_MAX:
        raise LocalError(f"takes a number of credits, not {text!r}")
    return number


def _some_credits(text: str) -> float:
    number = _credits(text)
    if number == 0:
        raise LocalError("takes more than 0 credits")
    return number
