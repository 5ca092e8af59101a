"""Which frames of an animation are meant: `1-1200`, `3, 5-10, 47-327`, every so many of them."""

import re

from cli.exits import WrongUse
from protocol.limits import ITEMS_PER_JOB_MAX

FRAME_MAX = 1_048_574
"""Blender's own limit (MAXFRAME)."""
TILES_MAX = 16
"""In one direction."""
_PART = re.compile(r"(-?\d{1,7})(?:\s*-\s*(-?\d{1,7}))?", re.ASCII)


def parse_frames(text: str, step: int) -> list[int]:
    """The numbers, each once, in the order in which they were written; raises `WrongUse`."""
    if step < 1:
        raise WrongUse(f"--step takes a number from 1 on, not {step}")
    frames: dict[int, None] = {}
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise WrongUse(f"--frames takes numbers and ranges such as 1-1200 or 3,5-10,47-327, not {text!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 0 <= first <= last <= FRAME_MAX:
            raise WrongUse(f"--frames: {part.strip()!r} is no range of frames from 0 to {FRAME_MAX}")
        frames.update(dict.fromkeys(range(first, last + 1, step)))
    if len(frames) > ITEMS_PER_JOB_MAX:
        raise WrongUse(f"--frames: {len(frames)} frames; a job has at most {ITEMS_PER_JOB_MAX} items")
    return list(frames)


def parse_tiles(text: str) -> tuple[int, int]:
    """Columns and rows of `2x2`; raises `WrongUse`."""
    found = re.fullmatch(r"(\d{1,2})x(\d{1,2})", text.strip(), re.ASCII)
    columns, rows = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (1 <= columns <= TILES_MAX and 1 <= rows <= TILES_MAX):
        raise WrongUse(f"--tiles takes columns and rows from 1x1 to {TILES_MAX}x{TILES_MAX}, not {text!r}")
    return columns, rows


def parse_percent(text: str) -> int:
    """Of the resolution; raises `WrongUse`."""
    number = text.strip().removesuffix("%")
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 1000):
        raise WrongUse(f"--resolution takes a share such as 50%, not {text!r}")
    return int(number)
