"""Inside the sandbox: files of items become paths, paths in results become files.

An item's files lie, read-only, at `/inputs/NUMBER/NAME`, numbered through the chunk. A file of a result goes out as an
open descriptor: whatever its path or its links mean, they mean it inside the sandbox.
"""

import os
from pathlib import Path
from typing import Protocol

INPUTS_AT = Path("/inputs")
INPUTS_VARIABLE = "PEER_INPUTS"
"""Where they are in a sandbox that cannot show them there."""
FILE_MARK = b"\x65$file"
"""As in `protocol/files.py`, which is loaded for jobs with files alone."""


class FileChannel(Protocol):
    """The way to the peer outside."""

    def send(self, *message: object, descriptor: int | None = None) -> None:
        """One message out."""

    def receive(self) -> bytes | None:
        """The answer."""


class FileDoor:
    """Where files come in and go out."""

    def __init__(self, channel: FileChannel) -> None:
        self._channel = channel

    def placed(self, items: list[object]) -> list[object]:
        """The items of a chunk, with paths in the place of files."""
        from protocol.files import FileRef, with_files

        folder = Path(os.environ.get(INPUTS_VARIABLE, INPUTS_AT))
        numbers = iter(range(len(items) + 2**20))

        def place(file: FileRef) -> object:
            return folder / str(next(numbers)) / file.name

        return with_files(items, place)  # type: ignore[return-value]

    def give(self, path: str) -> object:
        """Hand a file out; what stands for it in the result. Raises `OSError` when it cannot be read."""
        from protocol import encoding

        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._channel.send("file", Path(path).name, descriptor=descriptor)
        finally:
            os.close(descriptor)
        answer = encoding.decode(self._channel.receive() or b"\xf6")
        if not isinstance(answer, dict):
            raise OSError(f"{path} cannot be given: {answer}")
        return answer
