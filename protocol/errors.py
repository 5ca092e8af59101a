"""One error root, split by whose fault it is.

Only a `RemoteError` may cost the other side trust. `Unavailable` is nobody's fault: try another
peer or try later. A `LocalError` is ours: a wrong argument, a full disk, a bug.
"""


class ParallelPeerError(Exception):
    """Root of every error that this project raises on purpose."""


class LocalError(ParallelPeerError):
    """Our own fault; the message names the thing and the way out."""


class RemoteError(ParallelPeerError):
    """The other side broke the protocol; its stream is reset and it may lose trust."""


class Unavailable(ParallelPeerError):
    """Nobody's fault: a peer that cannot be reached, a time-out, a closed connection."""


class IllegalTransition(LocalError):
    """A state machine met an event that its table does not list; the message tells its story."""


class FrameTooLong(RemoteError):
    """A frame announces more bytes than `FRAME_SIZE_BYTES_MAX`."""


class BadFrame(RemoteError):
    """A frame that is truncated, not canonical CBOR, or does not fit its message type."""


class UnknownMessage(BadFrame):
    """A well-formed frame whose message type is not known here."""


class BadSignature(RemoteError):
    """A signed body whose signature, signer or type is wrong."""


class BadRecord(RemoteError):
    """A directory record that is expired, oversized, forged or about another peer."""


class StreamClosed(Unavailable):
    """The stream ended; `clean` is not known, since a killed process looks like an orderly end."""
