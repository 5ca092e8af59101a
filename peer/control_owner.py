"""The part of the control API about the owner's leave: pause, resume, who has asked, who is let in."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from fastapi import Request, Response

from peer.availability import Availability
from peer.door import Door
from peer.views import PauseRequest
from protocol.errors import LocalError

PAUSE_BYTES_MAX = 4096


class Owned(Protocol):
    """The peer behind the control API."""

    @property
    def availability(self) -> Availability:
        """When it works."""

    @property
    def door(self) -> Door:
        """For whom it works."""


Routes = Sequence[tuple[str, str, Callable[..., Awaitable[Response]]]]


def owner_routes(api: "OwnerApi") -> Routes:
    """Method, path and handler of each."""
    return (
        ("POST", "/pause", api.pause),
        ("POST", "/resume", api.resume),
        ("GET", "/requests", api.requests),
        ("POST", "/requests/{peer}/accept", api.accept),
    )


class OwnerApi:
    """The handlers; all of them run in the event loop of the peer."""

    def __init__(self, peer: Owned) -> None:
        self._peer = peer

    async def pause(self, request: Request) -> Response:
        """Work for nobody, as long as the body (`PauseRequest`) says: `AvailabilityView`."""
        data = await request.body()
        try:
            wanted = msgspec.json.decode(data[:PAUSE_BYTES_MAX], type=PauseRequest)
        except msgspec.DecodeError as error:
            raise LocalError(f"the body is no pause: {error}") from error
        self._peer.availability.pause(wanted.seconds)
        return _json(self._peer.availability.view())

    async def resume(self) -> Response:
        """The pause is over: `AvailabilityView`, since other rules may still forbid work."""
        self._peer.availability.resume()
        return _json(self._peer.availability.view())

    async def requests(self) -> Response:
        """Who waits for the owner's leave: list of `AskedView`."""
        return _json(self._peer.door.asked())

    async def accept(self, peer: str) -> Response:
        """Let a peer in: `{"peer": whole id}`."""
        return _json({"peer": self._peer.door.accept(peer)})


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
