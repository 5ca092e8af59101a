"""Files in items and in results: data that stands for a blob, wherever in a value it is.

A file is `{"$file": {"name": ..., "blob": ..., "size_bytes": ...}}`: plain data, so it can stand in JSON, in CBOR and
in a journal. Inside the sandbox it is a `pathlib.Path`, in an item as in a result. Equal content of one name is equal
data, so results with files are compared without fetching them.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.blobs import BLOB_BYTES_MAX
from protocol.errors import BadFrame
from protocol.messages.base import Part

FILE_KEY = "$file"
FILE_MARK = b"\x65$file"
"""The key in CBOR: data without these bytes has no files in it."""
FILES_PER_CHUNK_MAX = 1024
FILE_NAME_PATTERN = r"^(?!\.\.?\Z)[^/\x00-\x1f\x7f]{1,120}\Z"


class FileRef(Part, frozen=True, kw_only=True):
    """A file: what it is called, the blob that is its content, and how large that is."""

    name: Annotated[str, Meta(pattern=FILE_NAME_PATTERN)]
    blob: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size_bytes: Annotated[int, Meta(ge=0, le=BLOB_BYTES_MAX)]

    def plain(self) -> dict[str, object]:
        """As it stands in a value."""
        return {FILE_KEY: {"name": self.name, "blob": self.blob, "size_bytes": self.size_bytes}}


def files_in(value: object) -> list[FileRef]:
    """Those in plain data, in the order in which `with_files` meets them; raises what that raises."""
    found: list[FileRef] = []
    with_files(value, found.append)
    return found


def with_files(value: object, replace: Callable[[FileRef], object]) -> object:
    """The value with something else in the place of each file: lists in their order, maps in that of their keys.

    By recursion: the decoder bounds the depth. Raises `BadFrame` for a file of the wrong form, or too many.
    """
    count = 0

    def walk(one: object) -> object:
        nonlocal count
        if isinstance(one, list):
            return [walk(each) for each in one]
        if not isinstance(one, dict):
            return one
        if FILE_KEY not in one:
            return {key: walk(one[key]) for key in sorted(one)}
        count += 1
        if count > FILES_PER_CHUNK_MAX:
            raise BadFrame(f"more than {FILES_PER_CHUNK_MAX} files at once")
        return replace(_file(one))

    return walk(value)


def _file(value: dict[str, object]) -> FileRef:
    try:
        if len(value) == 1:
            return msgspec.convert(value[FILE_KEY], FileRef)
    except msgspec.ValidationError as error:
        raise BadFrame(f"not a file: {error}") from error
    raise BadFrame(f"not a file: {FILE_KEY!r} stands beside other keys")
