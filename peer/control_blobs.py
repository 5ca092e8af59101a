"""The part of the control API about blobs: the cache, and transfers into it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import trio
from fastapi import Request, Response

from peer.blob_transfers import BlobTransfers, view_of
from peer.blob_views import CacheView, Pruned, TransferRequest
from protocol.errors import LocalError

CHANGE_WAIT_S = 5.0
CHANGE_INTERVAL_S = 0.1
"""Between two answers about one transfer."""
REQUEST_BYTES_MAX = 16384


class HasBlobs(Protocol):
    """The peer behind the control API."""

    @property
    def transfers(self) -> BlobTransfers:
        """What its owner has fetched."""


Routes = Sequence[tuple[str, str, Callable[..., Awaitable[Response]]]]


def blob_routes(api: "BlobApi") -> Routes:
    """Method, path and handler of each."""
    return (
        ("GET", "/cache", api.cache),
        ("POST", "/cache/prune", api.prune),
        ("POST", "/transfers", api.start),
        ("GET", "/transfers/{number}", api.show),
        ("POST", "/transfers/{number}/cancel", api.cancel),
    )


class BlobApi:
    """The handlers; all of them run in the event loop of the peer."""

    def __init__(self, peer: HasBlobs) -> None:
        self._peer = peer

    async def cache(self) -> Response:
        """The cache: `CacheView`, the blob used last first."""
        store = self._peer.transfers.blobs.store
        blobs = [view_of(one) for one in store.blobs()]
        used = sum(one.held_bytes for one in blobs if not one.pinned)
        return _json(CacheView(folder=str(store.folder), bytes_max=store.bytes_max, bytes_used=used, blobs=blobs))

    async def prune(self, everything: bool = False) -> Response:
        """Delete what is not pinned, or all: `Pruned`."""
        store = self._peer.transfers.blobs.store
        held = {one.id: one.held_bytes for one in store.blobs()}
        gone = store.prune(everything=everything)
        return _json(Pruned(blobs=len(gone), bytes=sum(held[one.id] for one in gone)))

    async def start(self, request: Request) -> Response:
        """Begin what the body (`TransferRequest`) says: `TransferView`."""
        data = await request.body()
        try:
            wanted = msgspec.json.decode(data[:REQUEST_BYTES_MAX], type=TransferRequest)
        except msgspec.DecodeError as error:
            raise LocalError(f"the body is no transfer: {error}") from error
        return _json(self._peer.transfers.start(wanted))

    async def show(self, number: int) -> Response:
        """How far it is, once there is news, or after some seconds: `TransferView`."""
        transfers = self._peer.transfers
        known = transfers.view(number)
        if not known.ended:
            with trio.move_on_after(CHANGE_WAIT_S):
                await transfers.wait_change(number, known)
                await trio.sleep(CHANGE_INTERVAL_S)
        return _json(transfers.view(number))

    async def cancel(self, number: int) -> Response:
        """End it; what has come stays: `TransferView` at that moment."""
        return _json(self._peer.transfers.cancel(number))


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
