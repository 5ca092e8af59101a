"""A stream of typed messages over a stream of bytes. One task sends, one receives."""

from typing import Generic, TypeVar

from protocol.errors import BadFrame, StreamClosed
from protocol.framing import FrameDecoder, frame
from protocol.ids import PeerId
from protocol.limits import FRAME_SIZE_BYTES_MAX
from protocol.messages import Message, MessageCodec
from protocol.network import Stream

MessageT = TypeVar("MessageT", bound=Message)


class MessageChannel(Generic[MessageT]):
    """Typed messages of one codec over one stream.

    `receive` raises `StreamClosed` at an orderly end and a `RemoteError` for a bad frame; the
    caller resets the stream then. `bytes_sent` and `bytes_received` count framed bytes.
    """

    def __init__(self, stream: Stream, codec: MessageCodec[MessageT]) -> None:
        self.stream = stream
        self.bytes_sent = 0
        self.bytes_received = 0
        self._codec = codec
        self._decoder = FrameDecoder(FRAME_SIZE_BYTES_MAX)

    @property
    def remote_peer(self) -> PeerId:
        """Who is at the other end."""
        return self.stream.remote_peer

    async def send(self, *messages: MessageT) -> None:
        """Send messages in one write."""
        data = b"".join(frame(self._codec.encode(message)) for message in messages)
        self.bytes_sent += len(data)
        await self.stream.send(data)

    async def send_raw(self, data: bytes) -> None:
        """Send a frame that is no message, which a message before it has announced: what need not be encoded."""
        framed = frame(data)
        self.bytes_sent += len(framed)
        await self.stream.send(framed)

    async def receive(self) -> MessageT:
        """The next message."""
        return self._codec.decode(await self.receive_raw())

    async def receive_raw(self) -> bytes:
        """The next frame as it is."""
        while (payload := self._decoder.next_frame()) is None:
            data = await self.stream.receive()
            if not data:
                self._end()
            self.bytes_received += len(data)
            self._decoder.feed(data)
        return payload

    def _end(self) -> None:
        try:
            self._decoder.finish()
        except BadFrame as error:
            raise BadFrame(f"{error}, from {self.remote_peer}") from error
        raise StreamClosed(f"the stream with {self.remote_peer} has ended")
