"""Files in items: `{"$file": "clip.mp4"}` in an input line is a file of this machine, which goes along."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

from cli.exits import WrongUse
from peer.blob_views import TransferRequest
from peer.control_client import ControlClient
from protocol.files import FILE_KEY, FILE_NAME_PATTERN, FILES_PER_CHUNK_MAX, FileRef


def check_files(items: list[object], folder: Path) -> None:
    """Whether all of them are there; paths are relative to the folder of the inputs. Raises `WrongUse`."""

    def check(path: Path) -> object:
        if not path.is_file():
            raise WrongUse(f"{path} is {'a folder' if path.is_dir() else 'not there'}; {FILE_KEY} takes a file")
        if not re.match(FILE_NAME_PATTERN, path.name):
            raise WrongUse(f"{path.name!r} is too long for the name of a file, or has odd characters: rename it")
        return None

    for number, item in enumerate(items, 1):
        count = 0

        def counted(path: Path) -> object:
            nonlocal count
            count += 1
            return check(path)

        _replaced(item, folder, counted)
        if count > FILES_PER_CHUNK_MAX:
            raise WrongUse(f"item {number} has {count} files; at most {FILES_PER_CHUNK_MAX} are allowed")


def with_blobs(client: ControlClient, items: list[object], folder: Path) -> list[object]:
    """The items with the blobs of their files, which are put into the cache of the peer."""
    put: dict[Path, object] = {}

    def blob_of(path: Path) -> object:
        if path not in put:
            put[path] = into_cache(client, path).plain()
        return put[path]

    return cast("list[object]", _replaced(items, folder, blob_of))


def into_cache(client: ControlClient, path: Path) -> FileRef:
    """One file in the cache, as it stands in an item."""
    from cli.blob_transfer import carry_out

    blob = carry_out(client, TransferRequest(action="put", what=str(path.absolute())), path.name)
    return FileRef(name=path.name, blob=blob.id, size_bytes=blob.size_bytes)


def _replaced(value: object, folder: Path, replace: Callable[[Path], object]) -> object:
    """The value with each `{"$file": "path"}` replaced; files that are blobs already stay."""
    if isinstance(value, list):
        return [_replaced(one, folder, replace) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {FILE_KEY} and isinstance(value[FILE_KEY], str):
        return replace(folder / Path(value[FILE_KEY]).expanduser())
    return {key: _replaced(one, folder, replace) for key, one in value.items()}
