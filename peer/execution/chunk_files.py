"""The files that go into one sandbox with the items of a chunk, and those that come out with its results."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from peer.execution.process import SandboxProcess
from peer.seam import BlobFiles
from protocol import encoding
from protocol.arrays import array_hook
from protocol.bodies import Manifest
from protocol.errors import BadFrame, LocalError
from protocol.files import FILE_MARK, FILE_NAME_PATTERN, FILES_PER_CHUNK_MAX, FileRef, files_in
from protocol.framing import frame
from protocol.limits import MIB, RESULT_FILE_BYTES_MAX, RESULT_FILES_BYTES_MAX

REPLY_BYTES_MAX = 4096


class ChunkFiles:
    """Of one runner. `folder` is what its sandbox sees as `/inputs`."""

    def __init__(self, source: BlobFiles | None, manifest: Manifest, folder: Path | None) -> None:
        self._source = source
        self._manifest = manifest
        self.folder = folder
        self._given: list[FileRef] = []
        self._is_full = False

    async def place(self, payload: bytes) -> None:
        """Put the files of a chunk's items where it finds them; raises `LocalError` where one cannot be had."""
        self._given.clear()
        self._clear()
        if FILE_MARK not in payload:
            return
        if self._source is None:
            raise LocalError("the items have files, which only a running peer can fetch")
        if self.folder is None:
            raise LocalError("the items have files, which the sandbox of this machine cannot show to a job")
        self._is_full = True
        try:
            files = files_in(encoding.decode(payload, array_hook))
        except BadFrame as error:
            raise LocalError(f"the input of a chunk is not valid: {error}") from error
        for number, file in enumerate(files):
            place = self.folder / str(number)
            place.mkdir(mode=0o755)
            await self._source.place(file, self._manifest, place / file.name)

    async def take(self, process: SandboxProcess, name: str) -> None:
        """Keep a file that the sandbox hands out, and answer it; raises `BadFrame` for what is no file."""
        descriptor = process.next_descriptor()
        if descriptor is None:
            raise BadFrame("a file was announced and not handed out")
        try:
            answer = await self._kept(descriptor, name)
        finally:
            os.close(descriptor)
        process.send(frame(encoding.encode(answer), REPLY_BYTES_MAX))

    async def _kept(self, descriptor: int, name: str) -> object:
        """What stands for the file, or why it is not taken."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "it is no regular file"
        if status.st_size > RESULT_FILE_BYTES_MAX:
            return f"{status.st_size} bytes; a file of a result has at most {RESULT_FILE_BYTES_MAX // MIB} MiB"
        if sum(file.size_bytes for file in self._given) + status.st_size > RESULT_FILES_BYTES_MAX:
            return f"the files of a chunk's results have at most {RESULT_FILES_BYTES_MAX // MIB} MiB"
        if len(self._given) >= FILES_PER_CHUNK_MAX:
            return f"a chunk gives at most {FILES_PER_CHUNK_MAX} files"
        if not re.match(FILE_NAME_PATTERN, name):
            return "its name is too long, or has odd characters"
        if self._source is None:
            return "only a running peer keeps files"
        try:
            file = await self._source.keep(descriptor, status.st_size, name)
        except LocalError as error:
            return str(error)
        self._given.append(file)
        return file.plain()

    def check(self, data: bytes) -> None:
        """Raise `BadFrame` when a result names a file that it has not handed out."""
        if FILE_MARK in data:
            unknown = [one for one in files_in(encoding.decode(data, array_hook)) if one not in self._given]
            if unknown:
                raise BadFrame(f"the result names the file {unknown[0].name}, which it has not given")

    def _clear(self) -> None:
        """What the last chunk found there."""
        if self._is_full and self.folder is not None:
            for place in self.folder.iterdir():
                for file in place.iterdir():
                    file.unlink()
                place.rmdir()
        self._is_full = False


@contextmanager
def files_of_chunks(source: BlobFiles | None, manifest: Manifest, *, shown: bool = True) -> Iterator[ChunkFiles]:
    """Those of a runner, for as long as it runs; `shown`: whether its sandbox can show it any."""
    with nullcontext() if source is None or not shown else source.folder() as folder:
        yield ChunkFiles(source, manifest, folder)
