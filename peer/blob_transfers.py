"""Transfers that the owner asked for: they run in the peer, for as long as somebody asks how far they are.

So a command that is interrupted or killed leaves nothing running; what has come stays for the next time.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from peer.blob_download import Fetched
from peer.blob_file import BlobFile
from peer.blob_views import BlobView, TransferRequest, TransferView
from peer.blobs import Blobs
from protocol.blobs import parse_blob_id
from protocol.errors import LocalError, ParallelPeerError, Unavailable

if TYPE_CHECKING:
    from trio_typing import TaskStatus

ASKED_AFTER_S_MAX = 15.0
"""A transfer that nobody has asked about for so long ends."""
TRANSFERS_MAX = 16


@dataclass(slots=True)
class _Transfer:
    view: TransferView
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    changed: trio.Event = field(default_factory=trio.Event)

    def update(self, **changes: object) -> None:
        self.view = msgspec.structs.replace(self.view, **changes)
        self.changed.set()
        self.changed = trio.Event()


class BlobTransfers:
    """Bounded in number; those that have ended are forgotten when nobody asks any more."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self._numbers = itertools.count(1)
        self._transfers: dict[int, _Transfer] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Carry transfers out until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep(inf)

    def start(self, request: TransferRequest) -> TransferView:
        """Begin; raises `LocalError` for what cannot be meant, or when too many are going on."""
        if request.action == "get":
            parse_blob_id(request.what)
        if len(self._transfers) >= TRANSFERS_MAX or self._nursery is None:
            raise LocalError(f"{len(self._transfers)} transfers are going on; wait for one of them")
        transfer = _Transfer(TransferView(number=next(self._numbers)))
        self._transfers[transfer.view.number] = transfer
        self._nursery.start_soon(self._run, transfer, request)
        return self.view(transfer.view.number)

    def view(self, number: int) -> TransferView:
        """How far it is; raises `LocalError` for one that is not known."""
        transfer = self._find(number)
        transfer.scope.deadline = trio.current_time() + ASKED_AFTER_S_MAX
        return transfer.view

    async def wait_change(self, number: int, known: TransferView) -> None:
        """Until it is further than that."""
        transfer = self._find(number)
        while transfer.view == known and not known.ended:
            await transfer.changed.wait()

    def cancel(self, number: int) -> TransferView:
        """End it; what has come stays."""
        transfer = self._find(number)
        transfer.scope.cancel()
        return transfer.view

    def _find(self, number: int) -> _Transfer:
        transfer = self._transfers.get(number)
        if transfer is None:
            raise LocalError(f"there is no transfer {number} any more; start it again, and it goes on where it was")
        return transfer

    async def _run(self, transfer: _Transfer, request: TransferRequest) -> None:
        """The transfer, and then the rest of the time in which somebody may ask about it."""
        with transfer.scope:
            try:
                blob = await self._carry_out(transfer, request)
            except ParallelPeerError as error:
                transfer.update(error=str(error), unavailable=isinstance(error, Unavailable))
            else:
                transfer.update(blob=view_of(blob))
            await trio.sleep(inf)
        del self._transfers[transfer.view.number]

    async def _carry_out(self, transfer: _Transfer, request: TransferRequest) -> BlobFile:
        if request.action == "put":
            return await self.blobs.store.put(Path(request.what), _told_put(transfer))
        return await self.blobs.fetch(parse_blob_id(request.what), bounded=False, progress=_told_get(transfer))


def _told_put(transfer: _Transfer) -> Callable[[int, int], None]:
    return lambda done, total: transfer.update(done_bytes=done, total_bytes=total)


def _told_get(transfer: _Transfer) -> Callable[[Fetched], None]:
    return lambda fetched: transfer.update(done_bytes=fetched.done, total_bytes=fetched.total, holders=fetched.holders)


def view_of(blob: BlobFile) -> BlobView:
    """A blob as it is shown."""
    return BlobView(
        id=blob.id,
        size_bytes=blob.size_bytes,
        held_bytes=blob.held_bytes,
        whole=blob.whole,
        pinned=blob.pinned,
        in_use=blob.users > 0,
        path=str(blob.path) if blob.whole else None,
    )
