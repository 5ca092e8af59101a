"""Frames: an unsigned varint length, then that many bytes of payload (libp2p specs, "unsigned-varint").

A frame that is cut short is seen as such: an orderly end and a killed process look alike to a
socket, so `FrameDecoder.finish()` says whether bytes are missing.
"""

from protocol.errors import BadFrame, FrameTooLong
from protocol.limits import FRAME_SIZE_BYTES_MAX

_LENGTH_BYTES_MAX = 5


def frame(payload: bytes, size_bytes_max: int = FRAME_SIZE_BYTES_MAX) -> bytes:
    """The framed payload; raises `FrameTooLong` before anything is sent."""
    if len(payload) > size_bytes_max:
        raise FrameTooLong(f"a frame of {len(payload)} bytes; at most {size_bytes_max} are allowed")
    return _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class FrameDecoder:
    """Collects bytes and gives whole payloads back; holds at most one frame's bytes and one read."""

    def __init__(self, size_bytes_max: int = FRAME_SIZE_BYTES_MAX) -> None:
        self._size_bytes_max = size_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what the stream gave."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole payload, or None until more is fed; raises on a length that is not allowed."""
        header = self._parse_length()
        if header is None:
            return None
        offset, length = header
        if len(self._buffer) < offset + length:
            return None
        payload = bytes(memoryview(self._buffer)[offset : offset + length])
        del self._buffer[: offset + length]
        return payload

    def finish(self) -> None:
        """The stream has ended; raises `BadFrame` when it ended inside a frame."""
        if self._buffer:
            raise BadFrame(f"the stream ended inside a frame ({len(self._buffer)} bytes left over)")

    def _parse_length(self) -> tuple[int, int] | None:
        length = 0
        for index, byte in enumerate(self._buffer[:_LENGTH_BYTES_MAX]):
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return index + 1, self._checked(length, index, byte)
        if len(self._buffer) >= _LENGTH_BYTES_MAX:
            raise BadFrame("the length of a frame takes more than five bytes")
        return None

    def _checked(self, length: int, index: int, last_byte: int) -> int:
        if index and last_byte == 0:
            raise BadFrame("the length of a frame is not in its shortest form")
        if length > self._size_bytes_max:
            raise FrameTooLong(f"a frame of {length} bytes announced; at most {self._size_bytes_max} are allowed")
        return length
