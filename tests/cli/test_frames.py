"""Frames, tiles and shares as they are typed."""

import pytest

from cli.exits import WrongUse
from cli.frames import parse_frames, parse_percent, parse_tiles


@pytest.mark.parametrize(
    ("text", "step", "frames"),
    [
        ("7", 1, [7]),
        ("1-5", 1, [1, 2, 3, 4, 5]),
        ("1-10", 4, [1, 5, 9]),
        ("3, 5-7, 6", 1, [3, 5, 6, 7]),
        ("0-2", 1, [0, 1, 2]),
    ],
)
def test_frames(text: str, step: int, frames: list[int]) -> None:
    assert parse_frames(text, step) == frames


@pytest.mark.parametrize("text", ["", "a", "5-3", "1--2", "-1", "1-9999999", "1,,2", "1-2-3", "1.5"])
def test_what_names_no_frames(text: str) -> None:
    with pytest.raises(WrongUse, match="--frames"):
        parse_frames(text, 1)


def test_step_counts_up() -> None:
    with pytest.raises(WrongUse, match="--step"):
        parse_frames("1-9", 0)


def test_too_many_frames_are_no_job() -> None:
    with pytest.raises(WrongUse, match="1048575 frames; a job has at most"):
        parse_frames("0-1048574", 1)


@pytest.mark.parametrize("text", ["2", "0x2", "2x17", "x", "2x2x2"])
def test_tiles(text: str) -> None:
    assert parse_tiles(" 2x3 ") == (2, 3)
    with pytest.raises(WrongUse, match="--tiles"):
        parse_tiles(text)


@pytest.mark.parametrize("text", ["0", "half", "1001%", "-5%"])
def test_resolution(text: str) -> None:
    assert parse_percent("50%") == parse_percent("50") == 50
    with pytest.raises(WrongUse, match="--resolution"):
        parse_percent(text)
