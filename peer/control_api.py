"""The control API: what the owner of this machine may ask of the running peer.

FastAPI on Hypercorn's trio worker, on a Unix socket that only the owner can open. It owns no state:
every answer comes from the peer behind it. Errors are JSON `{"error": text}`: 400 for what was asked
wrongly, 404 for what is not there, 413 for too much, 503 for what cannot be reached now.
"""

import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from peer.availability import Availability
from peer.blob_transfers import BlobTransfers
from peer.control_blobs import BlobApi, blob_routes
from peer.control_client import REQUEST_SIZE_BYTES_MAX
from peer.control_owner import OwnerApi, owner_routes
from peer.control_trust import TrustApi, TrustKeeper, trust_routes
from peer.door import Door
from peer.journal import Journal
from peer.result_data import line_to_json
from peer.views import JobRequest, JobView, PeerView, Retried, StatusView
from protocol.errors import LocalError, ParallelPeerError, Unavailable
from protocol.ids import JobId
from protocol.limits import MIB

if TYPE_CHECKING:
    # libp2p brings stubs of an older trio, which shadow trio's own types for the type checker alone.
    from trio_typing import TaskStatus

CHANGE_WAIT_S = 20.0
RESULT_LINES_PER_WRITE = 1000
GRACE_S = 0.5
OWNER_ONLY_UMASK = 0o177
NEWEST_JOB = "last"


class Jobs(TrustKeeper, Protocol):
    """What the control API needs of the coordinator."""

    def submit(self, request: JobRequest) -> JobId:
        """Start a job; raises `LocalError` on a bad request."""

    def view(self, job: JobId) -> JobView:
        """One job; raises `LocalError` when unknown."""

    async def wait_change(self, job: JobId, version: int) -> int:
        """Return a newer version once the view changed."""

    def cancel(self, job: JobId) -> None:
        """Cancel a running job; nothing happens to one that has ended."""

    def pause(self, job: JobId) -> None:
        """Stop working on a job for now; raises `LocalError` when it does not run."""

    def resume(self, job: JobId) -> None:
        """Go on with a job; raises `LocalError` when it has come to its end."""

    def retry(self, job: JobId) -> int:
        """Run again what of a past job failed, is missing or is in doubt; the number of items."""


class Controlled(Protocol):
    """The peer behind the control API."""

    @property
    def jobs(self) -> Jobs:
        """The coordinator."""

    @property
    def journal(self) -> Journal:
        """The journal."""

    @property
    def availability(self) -> Availability:
        """When it works."""

    @property
    def door(self) -> Door:
        """For whom it works."""

    @property
    def transfers(self) -> BlobTransfers:
        """What its owner has put and fetched."""

    def status(self) -> StatusView:
        """This peer."""

    async def peers(self) -> list[PeerView]:
        """What the directory knows."""

    def stop(self) -> None:
        """End the peer soon."""


class UnknownJob(LocalError):
    """There is no such job."""


async def serve_control(
    peer: Controlled, socket: Path, *, task_status: "TaskStatus[list[str]]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the API on a new Unix socket at `socket` until cancelled."""
    config = Config()
    config.bind = [f"unix:{socket}"]
    config.umask = OWNER_ONLY_UMASK
    config.graceful_timeout = GRACE_S
    config.errorlog = logging.getLogger("peer.control")
    await serve(make_app(peer), config, mode="asgi", task_status=task_status)  # type: ignore[arg-type]


def make_app(peer: Controlled) -> FastAPI:
    """The ASGI application in front of one peer."""
    api = ControlApi(peer)
    app = FastAPI(title="Parallel Peer", docs_url=None, redoc_url=None)
    routes: Sequence[tuple[str, str, Callable[..., Awaitable[Response]]]] = (
        ("GET", "/status", api.status),
        ("GET", "/peers", api.peers),
        ("GET", "/jobs", api.job_list),
        ("POST", "/jobs", api.job_submit),
        ("GET", "/jobs/{job}", api.job_show),
        ("GET", "/jobs/{job}/change", api.job_change),
        ("GET", "/jobs/{job}/results", api.job_results),
        ("GET", "/jobs/{job}/logs", api.job_logs),
        ("POST", "/jobs/{job}/cancel", api.job_cancel),
        ("POST", "/jobs/{job}/pause", api.job_pause),
        ("POST", "/jobs/{job}/resume", api.job_resume),
        ("POST", "/jobs/{job}/retry", api.job_retry),
        ("POST", "/stop", api.stop),
        *trust_routes(TrustApi(peer)),
        *owner_routes(OwnerApi(peer)),
        *blob_routes(BlobApi(peer)),
    )
    for method, path, handler in routes:
        app.add_api_route(path, handler, methods=[method], response_model=None)
    for kind in (ParallelPeerError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _error_response)
    return app


class ControlApi:
    """The handlers, one per route; all of them run in the event loop of the peer."""

    def __init__(self, peer: Controlled) -> None:
        self._peer = peer

    async def status(self) -> Response:
        """This peer: `StatusView`."""
        return _json(self._peer.status())

    async def peers(self) -> Response:
        """The peers that the directory knows: list of `PeerView`."""
        return _json(await self._peer.peers())

    async def job_list(self) -> Response:
        """All jobs, the newest first: list of `JobView` without their candidates."""
        views = self._peer.jobs.views()
        return _json([msgspec.structs.replace(view, candidates=[]) for view in views])

    async def job_submit(self, request: Request) -> Response:
        """Start the job in the body (`JobRequest`): `{"job": id}`."""
        try:
            wanted = msgspec.json.decode(await _body(request), type=JobRequest)
        except (msgspec.DecodeError, RecursionError) as error:
            raise LocalError(f"the body is not a job: {error}") from error
        return _json({"job": self._peer.jobs.submit(wanted)}, 201)

    async def job_show(self, job: str) -> Response:
        """One job: `JobView`."""
        return _json(self._view(job))

    async def job_change(self, job: str, version: int = 0) -> Response:
        """Wait until the job is newer than `version`, at most `CHANGE_WAIT_S`: `{"version", "view"}`."""
        view = self._view(job)
        if not view.state.is_final:
            with trio.move_on_after(CHANGE_WAIT_S):
                version = await self._peer.jobs.wait_change(JobId(view.id), version)
        return _json({"version": version, "view": self._view(view.id)})

    async def job_results(self, job: str) -> Response:
        """The results so far, in item order, as JSON lines."""
        lines = map(line_to_json, self._peer.journal.results(JobId(self._view(job).id)))
        return StreamingResponse(_pieces(lines), media_type="application/x-ndjson")

    async def job_logs(self, job: str, chunk: int | None = None, after: int = 0) -> Response:
        """What the job's chunks printed, a page of it: list of `{"number", "chunk", "peer", "text"}`."""
        rows = self._peer.journal.logs(JobId(self._view(job).id), chunk, after)
        names = ("number", "chunk", "peer", "text")
        return _json([dict(zip(names, row, strict=True)) for row in rows])

    async def job_cancel(self, job: str) -> Response:
        """Cancel the job: its `JobView` at that moment."""
        found = JobId(self._view(job).id)
        self._peer.jobs.cancel(found)
        return _json(self._view(found))

    async def job_pause(self, job: str) -> Response:
        """Stop working on the job for now: its `JobView` at that moment."""
        found = JobId(self._view(job).id)
        self._peer.jobs.pause(found)
        return _json(self._view(found))

    async def job_resume(self, job: str) -> Response:
        """Go on with the job: its `JobView` at that moment."""
        found = JobId(self._view(job).id)
        self._peer.jobs.resume(found)
        return _json(self._view(found))

    async def job_retry(self, job: str) -> Response:
        """Do again what does not stand: `Retried`, as the job is then."""
        found = JobId(self._view(job).id)
        items = self._peer.jobs.retry(found)
        return _json(Retried(items, self._view(found)))

    async def stop(self) -> Response:
        """End the peer, after this answer has gone out."""
        response = _json({"stopping": True})
        response.background = BackgroundTask(self._stop)
        return response

    async def _stop(self) -> None:
        self._peer.stop()

    def _view(self, wanted: str) -> JobView:
        """The job with that id, with the only id that begins so, or the newest for `last`."""
        with suppress(LocalError):
            return self._peer.jobs.view(JobId(wanted))
        views = self._peer.jobs.views()
        if wanted == NEWEST_JOB and views:
            return views[0]
        found = [view for view in views if view.id.startswith(wanted)]
        if not found:
            raise UnknownJob(f"no job {wanted!r} here; `peer job list` shows those that there are")
        if len(found) > 1:
            raise LocalError(f"{len(found)} jobs begin with {wanted!r}; give more of the id")
        return found[0]


async def _body(request: Request) -> bytes:
    pieces, size = [], 0
    async with aclosing(request.stream()) as stream:
        async for piece in stream:
            size += len(piece)
            if size > REQUEST_SIZE_BYTES_MAX:
                raise HTTPException(
                    413, f"the job is larger than {REQUEST_SIZE_BYTES_MAX // MIB} MiB; split its inputs"
                )
            pieces.append(piece)
    return b"".join(pieces)


async def _pieces(lines: "map[str]") -> AsyncIterator[bytes]:
    while batch := list(itertools.islice(lines, RESULT_LINES_PER_WRITE)):
        yield ("\n".join(batch) + "\n").encode()
        await trio.lowlevel.checkpoint()


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _error_response(_request: Request, error: Exception) -> Response:
    match error:
        case HTTPException():
            return _json({"error": str(error.detail)}, error.status_code)
        case RequestValidationError():
            return _json({"error": "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())}, 400)
        case UnknownJob():
            return _json({"error": str(error)}, 404)
        case LocalError():
            return _json({"error": str(error)}, 400)
        case Unavailable():
            return _json({"error": str(error)}, 503)
    return _json({"error": str(error)}, 500)
