"""What is shown of blobs: the data of the control API and the command. Imports nothing heavy."""

from typing import Literal

import msgspec


class BlobView(msgspec.Struct, frozen=True, kw_only=True):
    """One blob in the cache."""

    id: str
    size_bytes: int
    held_bytes: int
    """What of it is here; all of it when it is `whole`."""
    whole: bool
    pinned: bool
    in_use: bool
    path: str | None = None
    """The read-only file, of a whole one."""


class CacheView(msgspec.Struct, frozen=True, kw_only=True):
    """The cache."""

    folder: str
    bytes_max: int
    bytes_used: int
    """By blobs that are not pinned."""
    blobs: list[BlobView]


class TransferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`put` the file at a path of this machine into the cache, or `get` the blob with an id."""

    action: Literal["put", "get"]
    what: str


class TransferView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a transfer is. It has ended when there is a blob or an error."""

    number: int
    done_bytes: int = 0
    total_bytes: int | None = None
    """Not known before a holder has answered."""
    holders: int = 0
    blob: BlobView | None = None
    error: str = ""
    unavailable: bool = False
    """The error is nobody's fault: another time it may work."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.blob is not None or bool(self.error)


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted."""

    blobs: int
    bytes: int
