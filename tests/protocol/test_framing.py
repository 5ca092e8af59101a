"""Frames: any split of the bytes gives the same payloads; what is too long, cut short or overlong is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import BadFrame, FrameTooLong
from protocol.framing import FrameDecoder, frame
from protocol.limits import FRAME_SIZE_BYTES_MAX


def payloads_of(decoder: FrameDecoder) -> list[bytes]:
    found = []
    while (payload := decoder.next_frame()) is not None:
        found.append(payload)
    return found


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_any_split_gives_the_same_payloads(payloads: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(frame(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    decoder, found = FrameDecoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        decoder.feed(wire[start:end])
        found += payloads_of(decoder)
    decoder.finish()
    assert found == payloads


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.data())
def test_an_end_inside_a_frame_is_seen(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frame(payload) for payload in payloads[:-1])
    last = frame(payloads[-1])
    decoder = FrameDecoder()
    decoder.feed(whole + last[: data.draw(st.integers(1, len(last)))])
    complete = len(payloads_of(decoder)) == len(payloads)
    if complete:
        decoder.finish()
    else:
        with pytest.raises(BadFrame, match="inside a frame"):
            decoder.finish()


@given(st.binary(max_size=64))
def test_any_bytes_give_frames_or_an_error(data: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(data)
    try:
        found = payloads_of(decoder)
    except (BadFrame, FrameTooLong):
        return
    assert data.startswith(b"".join(frame(payload) for payload in found))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, FRAME_SIZE_BYTES_MAX])
def test_sizes_at_the_edges(size: int) -> None:
    decoder = FrameDecoder()
    decoder.feed(frame(b"x" * size))
    assert decoder.next_frame() == b"x" * size
    assert decoder.next_frame() is None
    decoder.finish()


def test_too_long_to_send() -> None:
    with pytest.raises(FrameTooLong, match="1048577"):
        frame(b"x" * (FRAME_SIZE_BYTES_MAX + 1))


def test_too_long_is_refused_from_its_length_alone() -> None:
    decoder = FrameDecoder()
    decoder.feed(bytes.fromhex("818040"))
    with pytest.raises(FrameTooLong, match="1048577"):
        decoder.next_frame()


@pytest.mark.parametrize("wire", ["8000", "818000", "ff8000"], ids=["zero", "one", "127"])
def test_a_length_that_is_not_in_its_shortest_form(wire: str) -> None:
    decoder = FrameDecoder()
    decoder.feed(bytes.fromhex(wire))
    with pytest.raises(BadFrame, match="shortest"):
        decoder.next_frame()


@pytest.mark.parametrize("wire", ["8080808080", "ffffffffff", "808080808001"])
def test_a_length_without_end(wire: str) -> None:
    decoder = FrameDecoder()
    decoder.feed(bytes.fromhex(wire))
    with pytest.raises(BadFrame, match="five bytes"):
        decoder.next_frame()


def test_a_smaller_limit_holds() -> None:
    decoder = FrameDecoder(size_bytes_max=3)
    decoder.feed(frame(b"abcd"))
    with pytest.raises(FrameTooLong):
        decoder.next_frame()


def test_bytes_given_away_are_not_kept() -> None:
    decoder = FrameDecoder()
    for _ in range(100):
        decoder.feed(frame(b"x" * 1000))
        assert decoder.next_frame() is not None
    assert not decoder._buffer
