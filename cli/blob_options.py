"""`--blob NAME=FILE|ID` of `peer submit`: what it says, and how the blob gets into the cache of the peer."""

import re
from collections.abc import Sequence
from pathlib import Path

from cli.exits import WrongUse
from peer.blob_views import TransferRequest
from peer.control_client import ControlClient
from peer.views import BlobUse
from protocol.blobs import parse_blob_id
from protocol.errors import LocalError
from protocol.limits import BLOB_NAME_PATTERN, BLOBS_PER_JOB_MAX

NamedBlob = tuple[str, TransferRequest]


def parse_blob_options(options: Sequence[str]) -> list[NamedBlob]:
    """Names, and what brings each blob into the cache; raises `WrongUse`."""
    named = [_parse(option) for option in options]
    names = [name for name, _ in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise WrongUse(f"--blob: two blobs have the name {twice[0]}")
    if len(named) > BLOBS_PER_JOB_MAX:
        raise WrongUse(f"--blob: {len(named)} blobs; a job reads at most {BLOBS_PER_JOB_MAX}")
    return named


def into_cache(client: ControlClient, named: NamedBlob) -> BlobUse:
    """Put the file there, or get the blob, which this machine needs for its own share of the work."""
    from cli.blob_transfer import carry_out

    name, request = named
    blob = carry_out(client, request, f"blob {name}")
    return BlobUse(name=name, id=blob.id, size_bytes=blob.size_bytes)


def _parse(option: str) -> NamedBlob:
    name, equals, what = option.partition("=")
    if not equals or not re.search(BLOB_NAME_PATTERN, name):
        raise WrongUse(f"--blob takes NAME=FILE or NAME=ID, the name of letters, digits and _, not {option!r}")
    file = Path(what).expanduser().absolute()
    if file.is_file():
        return name, TransferRequest(action="put", what=str(file))
    try:
        return name, TransferRequest(action="get", what=parse_blob_id(what))
    except LocalError:
        why = "is a folder: make an archive of it first" if file.is_dir() else "is neither a file nor a blob id"
        raise WrongUse(f"--blob {name}: {what!r} {why}") from None
