"""How far pictures are apart: by their worst block, so that a small alteration of a large frame shows."""

import math
import struct
from random import Random

import pytest

from protocol import encoding
from protocol.comparators import parse_comparator
from protocol.errors import BadFrame
from protocol.pictures import apart

WIDTH, HEIGHT = 100, 60


def view(*pixels: bytes, is_float: bool = False, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    return encoding.encode([[width, height, 3, is_float, one] for one in pixels])


def frame(seed: int = 1) -> bytearray:
    return bytearray(Random(seed).randbytes(WIDTH * HEIGHT * 3))


def psnr(noise: float) -> float:
    return -10 * math.log10(noise)


def test_equal_pictures_are_not_apart() -> None:
    assert apart(view(bytes(frame())), view(bytes(frame()))) == 0.0


def test_rounding_of_another_machine_is_forgiven() -> None:
    other = frame()
    for place in range(0, len(other), 500):
        other[place] ^= 1
    assert psnr(apart(view(bytes(frame())), view(bytes(other)))) > 60


def test_a_small_alteration_is_not_drowned_by_the_rest() -> None:
    """One pixel in 6,000: over the whole frame it would have more than 50 dB."""
    other = frame()
    other[-2] = (other[-2] + 40) % 256 if other[-2] < 200 else other[-2] - 40
    assert psnr(apart(view(bytes(frame())), view(bytes(other)))) < 50


@pytest.mark.parametrize(
    "other",
    [
        b"",
        view(),
        view(bytes(frame()), bytes(frame())),
        view(bytes(frame()), width=60, height=100),
        view(bytes(frame())[:-3]),
        encoding.encode(["no picture"]),
        encoding.encode([[WIDTH, HEIGHT, 3, False, "text"]]),
    ],
)
def test_other_pictures_are_infinitely_far(other: bytes) -> None:
    assert apart(view(bytes(frame())), other) == apart(other, view(bytes(frame()))) == math.inf


def test_floats_are_measured_against_their_peak() -> None:
    one = struct.pack("<300f", *([0.5] * 299 + [8.0]))
    other = struct.pack("<300f", *([0.5] * 299 + [8.001]))
    noise = apart(view(one, is_float=True, width=10, height=10), view(other, is_float=True, width=10, height=10))
    assert psnr(noise) > 80
    broken = struct.pack("<300f", *([0.5] * 299 + [math.nan]))
    assert apart(view(one, is_float=True, width=10, height=10), view(broken, is_float=True, width=10, height=10)) > 1


def test_a_view_that_is_no_list_is_refused() -> None:
    with pytest.raises(BadFrame):
        apart(encoding.encode({}), view(bytes(frame())))


def test_render_compares_bytes_where_it_has_nothing_else() -> None:
    render = parse_comparator("render:50")
    one, other = encoding.encode([[True, 1]]), encoding.encode([[True, 2]])
    assert render.same(one, one) and not render.same(one, other) and render.is_pairwise
