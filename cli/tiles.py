"""Frames put together from their tiles, to the pixel."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from cli.exits import WrongUse
from peer.disk import disk_errors
from peer.runtimes.inside.blender import frame_name


def check_can_merge(suffix: str) -> None:
    """Raise `WrongUse` where tiles cannot be put together here."""
    if suffix != "png":
        raise WrongUse("--tiles works with --format png alone")
    if importlib.util.find_spec("PIL") is None:
        raise WrongUse("--tiles needs Pillow: install it with `python -m pip install pillow`")


def merge_tiles(folder: Path, frames: Sequence[int], tiles: tuple[int, int], suffix: str) -> int:
    """Frames whose tiles are all there, in their folder; the tiles are removed. How many those are."""
    return sum(_merged(folder, frame, tiles, suffix) for frame in frames)


def _merged(folder: Path, frame: int, tiles: tuple[int, int], suffix: str) -> bool:
    from PIL import Image

    columns, rows = tiles
    parts = [
        [folder / frame_name({"frame": frame, "tile": [column, row]}, suffix) for column in range(columns)]
        for row in range(rows)
    ]
    if not all(path.exists() for line in parts for path in line):
        return False
    lines = [[Image.open(path) for path in line] for line in parts]
    size = (sum(one.width for one in lines[0]), sum(line[0].height for line in lines))
    whole = Image.new(lines[0][0].mode, size)
    top = 0
    for line in lines:
        left = 0
        for one in line:
            whole.paste(one, (left, top))
            left += one.width
        top += line[0].height
    path = folder / frame_name({"frame": frame}, suffix)
    with disk_errors(f"write {path}", folder):
        whole.save(path)
        for part in (path for line in parts for path in line):
            part.unlink()
    return True
