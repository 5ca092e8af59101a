"""The part of the control API about other peers: what they have earned, bans, pairs, the ledger."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from fastapi import Request, Response

from peer.trust_book import TrustBook, pick
from peer.trust_views import LedgerView, TrustAction, TrustCase
from peer.views import JobView
from protocol.errors import LocalError
from protocol.ids import PeerId

ACTION_BYTES_MAX = 4096


class TrustKeeper(Protocol):
    """Who keeps trust: the coordinator."""

    @property
    def trust(self) -> TrustBook:
        """What it remembers of its workers."""

    def shut_out(self, peer: PeerId, reason: str) -> None:
        """Go on without a peer in the jobs that run; what it gave before is not called a lie by that."""

    def views(self) -> list[JobView]:
        """All jobs."""


class HasJobs(Protocol):
    """The peer behind the control API."""

    @property
    def jobs(self) -> TrustKeeper:
        """The coordinator."""


Routes = Sequence[tuple[str, str, Callable[..., Awaitable[Response]]]]


def trust_routes(api: "TrustApi") -> Routes:
    """Method, path and handler of each."""
    return (
        ("GET", "/trust", api.trust_list),
        ("GET", "/trust/{peer}", api.trust_show),
        ("POST", "/trust/{peer}", api.trust_judge),
        ("GET", "/ledger", api.ledger),
    )


class TrustApi:
    """The handlers; all of them run in the event loop of the peer."""

    def __init__(self, peer: HasJobs) -> None:
        self._peer = peer

    async def trust_list(self) -> Response:
        """All peers that were ever met as workers: list of `TrustView`."""
        return _json(self._peer.jobs.trust.trust())

    async def trust_show(self, peer: str) -> Response:
        """One peer: `TrustCase`."""
        return _json(self._case(self._peer.jobs.trust.resolve(peer)))

    async def trust_judge(self, peer: str, request: Request) -> Response:
        """Do what the body (`TrustAction`) says: the `TrustCase` after it."""
        data = await request.body()
        try:
            action = msgspec.json.decode(data[:ACTION_BYTES_MAX], type=TrustAction)
        except msgspec.DecodeError as error:
            raise LocalError(f"the body is no such action: {error}") from error
        keeper = self._peer.jobs
        found = keeper.trust.resolve(peer)
        match action.action:
            case "ban":
                keeper.trust.ban(found, action.seconds, action.reason)
                keeper.shut_out(PeerId(found), "banned by the owner")
            case "pair":
                keeper.trust.pair(found)
            case "forget":
                keeper.trust.forget(found)
        return _json(self._case(found))

    async def ledger(self) -> Response:
        """Credits by peer, those pending in running jobs among them: list of `LedgerView`."""
        views = {one.peer: one for one in self._peer.jobs.trust.ledger()}
        for peer, credits in self._pending().items():
            views[peer] = msgspec.structs.replace(views.get(peer, LedgerView(peer=peer)), pending=credits)
        return _json([views[peer] for peer in sorted(views)])

    def _case(self, peer: str) -> TrustCase:
        book = self._peer.jobs.trust
        return TrustCase(trust=pick(book.trust(), peer), evidence=book.evidence(peer))

    def _pending(self) -> dict[str, float]:
        pending: dict[str, float] = {}
        for job in self._peer.jobs.views():
            for one in () if job.state.is_final else job.workers:
                if not one.local and one.pending > 0:
                    pending[one.peer] = pending.get(one.peer, 0.0) + one.pending
        return pending


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
