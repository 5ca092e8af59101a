"""Follow a transfer of a blob to its end, copy a blob out of the cache, show the cache."""

import shutil
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from cli.console import err, say
from cli.interrupts import terminated_like_interrupted
from cli.text import count, size
from peer.blob_views import BlobView, CacheView, TransferRequest, TransferView
from peer.control_client import ControlClient
from peer.disk import disk_errors
from protocol.errors import LocalError, Unavailable


def transfer(client: ControlClient, request: TransferRequest, title: str) -> BlobView | None:
    """The blob, or None when the user interrupted; raises what the peer says is wrong."""
    try:
        with terminated_like_interrupted():
            return carry_out(client, request, title)
    except KeyboardInterrupt:
        goes_on = "; what has come is kept, the same command goes on" if request.action == "get" else ""
        say(f"interrupted{goes_on}")
        return None


def carry_out(client: ControlClient, request: TransferRequest, title: str) -> BlobView:
    """The blob, once it is in the cache; ends the transfer when interrupted, raises what the peer says is wrong."""
    view = client.start_transfer(request)
    try:
        view = _follow(client, view, title)
    except KeyboardInterrupt:
        client.cancel_transfer(view.number)
        raise
    if view.blob is None:
        raise Unavailable(view.error) if view.unavailable else LocalError(view.error)
    return view.blob


def _follow(client: ControlClient, view: TransferView, title: str) -> TransferView:
    console = err()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    more = (TransferSpeedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[holders]}"))
    with Progress(*columns, *more, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, holders="")
        while not view.ended:
            holders = f"from {count(view.holders, 'peer')}" if view.holders else ""
            bar.update(task, completed=view.done_bytes, total=view.total_bytes, holders=holders)
            view = client.transfer(view.number)
    return view


def copy_out(source: Path, out: Path) -> Path:
    """Copy a blob to a file of the user, which appears when it is whole; raises `LocalError`."""
    out = out.expanduser().absolute()
    new = out.with_name(f"{out.name}.new")
    with disk_errors(f"write {out}", out.parent):
        try:
            shutil.copyfile(source, new)
            new.replace(out)
        finally:
            new.unlink(missing_ok=True)
    return out


def cache_table(cache: CacheView) -> Table:
    """The cache for people."""
    used = f"{size(cache.bytes_used)} of {size(cache.bytes_max)} used by blobs that are not pinned"
    table = Table(title=f"{cache.folder}: {used}", title_justify="left", box=None)
    for name in ("blob", "size", "here", "state"):
        table.add_column(name, justify="right" if name in ("size", "here") else "left", no_wrap=True)
    for blob in cache.blobs:
        states = [("partial", not blob.whole), ("pinned", blob.pinned), ("in use", blob.in_use)]
        share = f"{blob.held_bytes / blob.size_bytes:.0%}" if blob.size_bytes else "100%"
        table.add_row(blob.id, size(blob.size_bytes), share, ", ".join(name for name, true in states if true))
    return table
