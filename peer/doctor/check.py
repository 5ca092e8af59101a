"""What one check of the doctor says. Pure."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It cannot be told now; the fix says when it can."""
    WARNING = "warning"
    """It works, but less well than it could."""
    PROBLEM = "problem"
    """Something is broken: without mending it, the peer cannot work or not be started."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: what was looked at, what was found, what mends it (empty where nothing needs mending)."""

    name: str
    level: Level
    found: str
    fix: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, in the order in which they are shown."""

    can_work: bool
    checks: Sequence[Check]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> "Diagnosis":
        """It can work where no check has found a problem."""
        return cls(can_work=all(one.level is not Level.PROBLEM for one in checks), checks=checks)


def ok(name: str, found: str) -> Check:
    """Nothing to mend."""
    return Check(name=name, level=Level.OK, found=found)


def unknown(name: str, found: str, fix: str) -> Check:
    """Not to be told now."""
    return Check(name=name, level=Level.UNKNOWN, found=found, fix=fix)


def warning(name: str, found: str, fix: str) -> Check:
    """Less good than it could be."""
    return Check(name=name, level=Level.WARNING, found=found, fix=fix)


def problem(name: str, found: str, fix: str) -> Check:
    """Broken."""
    return Check(name=name, level=Level.PROBLEM, found=found, fix=fix)


def from_error(name: str, text: str, fix: str = "") -> Check:
    """A problem from the one line of an error: what follows its first semicolon is the way out."""
    found, _, way_out = text.partition("; ")
    return problem(name, found, way_out or fix)
