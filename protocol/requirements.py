"""What a job requires of a worker's machine, what a machine has, and what it lacks, in words. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.limits import MIB
from protocol.messages.base import Count, Part, ShortText

CORES_MAX = 256
GPUS_PER_PEER_MAX = 16
CLOSEST_SHOWN_MAX = 3
VERSION_PARTS_MAX = 8

STRONG_SANDBOXES = ("bubblewrap",)
"""Kinds of sandbox in which the kernel shows a job nothing of the machine: the first tier."""
WEAK_SANDBOXES = ("landlock",)
"""Those in which it refuses what a job may not have; what exists can be seen."""
SANDBOX_NEEDS = ("any", "strong")

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_CLAUSE = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?", re.ASCII)


class GpuOffer(Part, frozen=True, kw_only=True):
    """A graphics processor."""

    vendor: ShortText
    model: ShortText = ""
    memory_bytes: Count = 0
    """0 where it could not be told."""


class Requirements(Part, frozen=True, kw_only=True):
    """What each slot needs, besides memory, which the call has always had."""

    cores: Annotated[int, Meta(ge=1, le=CORES_MAX)] = 1
    gpu: ShortText = ""
    """Empty: none; `any`, `nvidia`, `nvidia:16G` or `16G`."""
    runtime_version: ShortText = ""
    """As in `>=3.11,<3.13`; empty: whatever."""
    disk_bytes: Count = 0
    sandbox: ShortText = "any"
    """The least that will do: `any` or `strong`."""

    def problem(self) -> str | None:
        """What is wrong with them, naming the field."""
        try:
            parse_version_wanted(self.runtime_version)
        except LocalError as error:
            return f"runtime-version {error}"
        try:
            parse_gpu(self.gpu)
        except LocalError as error:
            return f"gpu {error}"
        if self.sandbox not in SANDBOX_NEEDS:
            return f"sandbox takes {' or '.join(SANDBOX_NEEDS)}, not {self.sandbox!r}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What one peer has to offer to one job."""

    cores: int
    memory_bytes: int
    disk_bytes: int = 0
    gpus: Sequence[GpuOffer] = ()
    versions: Mapping[str, str]
    """Of the runtimes, by name."""
    sandboxes: Mapping[str, str] = field(default_factory=dict)
    """The kind that each runtime runs in, by the runtime's name."""


def lacks(needs: Requirements, memory_bytes: int, runtime: str, machine: Machine) -> Iterator[str]:
    """What the machine lacks, each with what there is and what is wanted; nothing for one that will do.

    Needs that make no sense are met by nobody.
    """
    if problem := needs.problem():
        yield problem
        return
    if machine.cores < needs.cores:
        yield f"cores ({machine.cores} of {needs.cores})"
    if machine.memory_bytes < memory_bytes:
        yield f"memory ({size_in_words(machine.memory_bytes)} of {size_in_words(memory_bytes)})"
    if machine.disk_bytes < needs.disk_bytes:
        yield f"disk ({size_in_words(machine.disk_bytes)} of {size_in_words(needs.disk_bytes)})"
    version = machine.versions.get(runtime, "")
    if not version_fits(version, needs.runtime_version):
        yield f"{runtime} {needs.runtime_version} (it has {version or 'none'})"
    sandbox = machine.sandboxes.get(runtime, "none")
    if needs.sandbox == "strong" and sandbox not in STRONG_SANDBOXES:
        yield f"a strong sandbox (it has {sandbox})"
    if needs.gpu and not any(_gpu_fits(one, needs.gpu) for one in machine.gpus):
        has = ", ".join(f"{one.model or one.vendor} {size_in_words(one.memory_bytes)}" for one in machine.gpus)
        yield f"a GPU ({has or 'none'}; wanted: {needs.gpu})"


def closest_in_words(found: Mapping[PeerId, Sequence[str]]) -> str:
    """Peers that lack something, those that lack least first: `…QXhWDM lacks memory (2 GiB of 4 GiB), …`."""
    ordered = sorted(found.items(), key=lambda one: (len(one[1]), one[0]))
    parts = [f"…{peer[-6:]} lacks {' and '.join(missing)}" for peer, missing in ordered[:CLOSEST_SHOWN_MAX]]
    more = len(ordered) - CLOSEST_SHOWN_MAX
    return ", ".join([*parts, *([f"and {more} more"] if more > 0 else [])])


# Versions.


def parse_version_wanted(text: str) -> list[tuple[str, tuple[int, ...], bool]]:
    """The clauses of `>=3.11,<4`: operator, version, whether it ends in `.*`; raises `LocalError`."""
    clauses = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _CLAUSE.fullmatch(part)
        version = tuple(map(int, found[2].split(".", VERSION_PARTS_MAX)[:VERSION_PARTS_MAX])) if found else ()
        if found is None or (found[3] and found[1] not in ("==", "!=")) or max(map(len, found[2].split("."))) > 9:
            raise LocalError(f"takes versions such as >=3.11 or >=3.11,<3.13 or ==3.12.*, not {text!r}")
        clauses.append((found[1], version, bool(found[3])))
    return clauses


def version_fits(version: str, wanted: str) -> bool:
    """Whether it meets all clauses; what follows the numbers (as in 3.14.0rc1) does not count."""
    found = re.match(r"\d{1,9}(?:\.\d{1,9})*", version, re.ASCII)
    have = tuple(map(int, found[0].split("."))) if found else ()
    return all(_holds(have, *clause) for clause in parse_version_wanted(wanted))


def _holds(have: tuple[int, ...], operator: str, wanted: tuple[int, ...], prefix: bool) -> bool:
    length = len(wanted) if prefix else max(len(have), len(wanted))
    mine, theirs = ((one + (0,) * length)[:length] for one in (have, wanted))
    order = {">=": mine >= theirs, "<=": mine <= theirs, ">": mine > theirs, "<": mine < theirs}
    return bool(have) and (order | {"==": mine == theirs, "!=": mine != theirs})[operator]


# GPUs and sizes.


def parse_gpu(text: str) -> tuple[str, int]:
    """Name (empty: any) and memory in bytes; raises `LocalError`."""
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9 _-]{0,63})?(?::?(\d.*))?", text.strip(), re.ASCII)
    if found is None:
        raise LocalError(f"takes any, nvidia, nvidia:16G or 16G, not {text!r}")
    name = (found[1] or "").lower().strip()
    try:
        return "" if name == "any" else name, parse_size(found[2]) if found[2] else 0
    except LocalError as error:
        raise LocalError(f"takes any, nvidia, nvidia:16G or 16G, not {text!r}") from error


def _gpu_fits(gpu: GpuOffer, wanted: str) -> bool:
    name, memory_bytes = parse_gpu(wanted)
    return name in f"{gpu.vendor} {gpu.model}".lower() and gpu.memory_bytes >= memory_bytes


def parse_size(text: str) -> int:
    """Bytes from `8G`, `512M` or `1.5GiB` (powers of 1024); raises `LocalError`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    if found is None:
        raise LocalError(f"takes a size such as 512M or 8G, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def size_in_words(size_bytes: int) -> str:
    """`2 GiB`, `1.5 GiB`, `512 MiB`."""
    unit, name = (1024 * MIB, "GiB") if size_bytes >= 1024 * MIB else (MIB, "MiB")
    return f"{size_bytes / unit:.4g} {name}"
