"""`peer put`, `peer get` and `peer cache list | prune`: their options, and what they do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.console import print_json, say, show, write_lines
from cli.exits import FAILED, INTERRUPTED, WrongUse

if TYPE_CHECKING:
    from peer.control_client import ControlClient

app = typer.Typer(help="Blobs on this machine: those put here, and copies of those of others.", no_args_is_help=True)

# Typer reads these annotations when the program runs, so `Optional` and not `| None`.
Data = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--data", metavar="DIR", help="Data folder of the peer. [default: PEER_DATA, or your own]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Blob = Annotated[str, typer.Argument(help="The blob's id, as `peer put` printed it.", metavar="ID")]
Out = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--out", metavar="FILE", help="Where to copy it. [default: it stays in the cache, the path is printed]"
    ),
]


def put(
    file: Annotated[Path, typer.Argument(help="The file to offer.", metavar="FILE")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Copy a file into the cache of the running peer, offer it to everybody who has its id, and print the id."""
    from cli.blob_transfer import transfer
    from peer.blob_views import TransferRequest

    source = file.expanduser().absolute()
    if not source.is_file():
        why = "a folder; make an archive of it first" if source.is_dir() else "not there, or no file"
        raise WrongUse(f"cannot put {file}: it is {why}")
    blob = transfer(_client(data), TransferRequest(action="put", what=str(source)), f"putting {file.name}")
    if blob is None:
        raise typer.Exit(INTERRUPTED)
    if as_json:
        print_json(blob)
    else:
        write_lines([blob.id.encode()])


def get(
    blob: Blob,
    out: Out = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is already there.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Fetch a blob from whoever has it. Interrupted, it goes on next time where it was."""
    from cli.blob_transfer import copy_out, transfer
    from peer.blob_views import TransferRequest
    from protocol.blobs import parse_blob_id
    from protocol.errors import LocalError

    try:
        wanted = parse_blob_id(blob)
    except LocalError as error:
        raise WrongUse(str(error)) from error
    if out is not None and out.exists() and (out.is_dir() or not force):
        raise WrongUse(f"{out} is already there; " + ("name a file" if out.is_dir() else "--force writes over it"))
    got = transfer(_client(data), TransferRequest(action="get", what=wanted), f"getting {wanted[:16]}")
    if got is None or got.path is None:
        raise typer.Exit(INTERRUPTED if got is None else FAILED)
    place = Path(got.path) if out is None else copy_out(Path(got.path), out)
    if as_json:
        print_json({"id": got.id, "size_bytes": got.size_bytes, "path": str(place)})
    else:
        write_lines([str(place).encode(errors="surrogateescape")])


@app.command("list")
def list_cache(data: Data = None, as_json: Json = False) -> None:
    """The blobs in the cache, the one used last first."""
    cache = _client(data).cache()
    if as_json:
        print_json(cache)
        return
    from cli.blob_transfer import cache_table

    show(cache_table(cache))


@app.command()
def prune(
    everything: Annotated[bool, typer.Option("--all", help="Those that were put here as well.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Delete the blobs that nobody pinned; those in use stay."""
    from cli.text import count, size

    pruned = _client(data).prune(everything=everything)
    if as_json:
        print_json(pruned)
    else:
        say(f"deleted {count(pruned.blobs, 'blob')}, {size(pruned.bytes)}")


def _client(data: Path | None) -> "ControlClient":
    from peer.control_client import ControlClient
    from peer.data_folder import DataFolder, default_data_folder

    return ControlClient(DataFolder(data if data is not None else default_data_folder()).socket())
