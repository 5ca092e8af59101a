"""Ask a running peer: HTTP over its Unix socket, with the standard library alone, so that it loads fast."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from peer.blob_views import CacheView, Pruned, TransferRequest, TransferView
from peer.trust_views import LedgerView, TrustAction, TrustCase, TrustView
from peer.views import (
    AskedView,
    AvailabilityView,
    JobRequest,
    JobView,
    PauseRequest,
    PeerView,
    Retried,
    StatusView,
)
from protocol.errors import LocalError, Unavailable
from protocol.limits import MIB

ANSWER_TIMEOUT_S = 60.0
REQUEST_SIZE_BYTES_MAX = 256 * MIB

AnswerT = TypeVar("AnswerT")


class NoPeer(Unavailable):
    """No peer listens on the socket."""


class Change(msgspec.Struct, frozen=True):
    """A job at one version of its view."""

    version: int
    view: JobView


class LogRow(msgspec.Struct, frozen=True):
    """What a chunk printed on one peer; rows that came later have higher numbers."""

    number: int
    chunk: int
    peer: str
    text: str


class ControlClient:
    """One peer's control API. Each call is one connection.

    Raises `NoPeer` when no peer runs there, `LocalError` with the peer's own words when it says no.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> StatusView:
        """The peer itself."""
        return self._ask("GET", "/status", StatusView)

    def peers(self) -> list[PeerView]:
        """The peers that it knows."""
        return self._ask("GET", "/peers", list[PeerView])

    def jobs(self) -> list[JobView]:
        """Its jobs, the newest first."""
        return self._ask("GET", "/jobs", list[JobView])

    def submit(self, request: JobRequest) -> str:
        """Start a job; returns its id."""
        return self._ask("POST", "/jobs", dict[str, str], msgspec.json.encode(request))["job"]

    def job(self, job: str) -> JobView:
        """One job, by its id, the beginning of it, or `last`."""
        return self._ask("GET", f"/jobs/{quote(job, safe='')}", JobView)

    def wait_change(self, job: str, version: int) -> Change:
        """The job once it is newer than `version`, or as it is after some seconds."""
        return self._ask("GET", f"/jobs/{quote(job, safe='')}/change?version={version}", Change)

    def logs(self, job: str, chunk: int | None = None, after: int = 0) -> list[LogRow]:
        """A page of what the chunks printed: the rows after the one of this number; empty after the last."""
        query = f"?after={after}" + ("" if chunk is None else f"&chunk={chunk}")
        return self._ask("GET", f"/jobs/{quote(job, safe='')}/logs{query}", list[LogRow])

    def cancel(self, job: str) -> JobView:
        """Cancel a job; its results so far stay."""
        return self._ask("POST", f"/jobs/{quote(job, safe='')}/cancel", JobView)

    def pause(self, job: str) -> JobView:
        """Stop working on a job until it is resumed; its results so far stay."""
        return self._ask("POST", f"/jobs/{quote(job, safe='')}/pause", JobView)

    def resume(self, job: str) -> JobView:
        """Go on with a job that was paused or interrupted."""
        return self._ask("POST", f"/jobs/{quote(job, safe='')}/resume", JobView)

    def retry(self, job: str) -> Retried:
        """Do again what of a past job failed, is missing or is in doubt."""
        return self._ask("POST", f"/jobs/{quote(job, safe='')}/retry", Retried)

    def trust(self) -> list[TrustView]:
        """What it has found out about other peers."""
        return self._ask("GET", "/trust", list[TrustView])

    def trust_case(self, peer: str) -> TrustCase:
        """One peer with the evidence, by its id or the beginning or end of it."""
        return self._ask("GET", f"/trust/{quote(peer, safe='')}", TrustCase)

    def judge(self, peer: str, action: TrustAction) -> TrustCase:
        """Ban, pair or forget a peer; how it stands then."""
        return self._ask("POST", f"/trust/{quote(peer, safe='')}", TrustCase, msgspec.json.encode(action))

    def ledger(self) -> list[LedgerView]:
        """Credits by peer."""
        return self._ask("GET", "/ledger", list[LedgerView])

    def pause_work(self, seconds: float | None) -> AvailabilityView:
        """Work for nobody for so long, or until `resume_work`."""
        return self._ask("POST", "/pause", AvailabilityView, msgspec.json.encode(PauseRequest(seconds=seconds)))

    def resume_work(self) -> AvailabilityView:
        """End a pause."""
        return self._ask("POST", "/resume", AvailabilityView)

    def requests(self) -> list[AskedView]:
        """Who waits to be let in."""
        return self._ask("GET", "/requests", list[AskedView])

    def accept(self, peer: str) -> str:
        """Let a peer in; its whole id."""
        return self._ask("POST", f"/requests/{quote(peer, safe='')}/accept", dict[str, str])["peer"]

    def cache(self) -> CacheView:
        """Its blobs."""
        return self._ask("GET", "/cache", CacheView)

    def prune(self, *, everything: bool) -> Pruned:
        """Delete blobs that are not pinned, or all that are not in use."""
        return self._ask("POST", f"/cache/prune?everything={int(everything)}", Pruned)

    def start_transfer(self, request: TransferRequest) -> TransferView:
        """Begin to put or get a blob."""
        return self._ask("POST", "/transfers", TransferView, msgspec.json.encode(request))

    def transfer(self, number: int) -> TransferView:
        """How far it is, once there is news, or after some seconds."""
        return self._ask("GET", f"/transfers/{number}", TransferView)

    def cancel_transfer(self, number: int) -> TransferView:
        """End it; what has come stays."""
        return self._ask("POST", f"/transfers/{number}/cancel", TransferView)

    def stop(self) -> None:
        """Ask the peer to end."""
        self._ask("POST", "/stop", dict[str, bool])

    def result_lines(self, job: str) -> Iterator[bytes]:
        """The results so far as JSON lines, in item order, without their newlines."""
        with self._answer("GET", f"/jobs/{quote(job, safe='')}/results") as response, _as_errors(self._path):
            yield from (line.rstrip(b"\n") for line in response)

    def _ask(self, method: str, path: str, wanted: type[AnswerT], body: bytes | None = None) -> AnswerT:
        with self._answer(method, path, body) as response, _as_errors(self._path):
            return msgspec.json.decode(response.read(), type=wanted)

    @contextlib.contextmanager
    def _answer(self, method: str, path: str, body: bytes | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self._path)
        try:
            with _as_errors(self._path):
                connection.request(method, path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                if response.status >= HTTPStatus.BAD_REQUEST:
                    _refused(response)
            yield response
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _refused(response: http.client.HTTPResponse) -> None:
    try:
        text = msgspec.json.decode(response.read(), type=dict[str, str])["error"]
    except (msgspec.DecodeError, KeyError):
        text = f"it answered {response.status} {response.reason}"
    if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise Unavailable(text)
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise LocalError(f"the peer failed inside ({text}); its log says more")
    raise LocalError(text)


@contextlib.contextmanager
def _as_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoPeer(f"no peer runs on {path.parent}; start one with `peer start`") from error
    except TimeoutError as error:
        raise Unavailable(f"the peer on {path.parent} did not answer in {ANSWER_TIMEOUT_S:.0f} s") from error
    except PermissionError as error:
        raise LocalError(f"the peer on {path.parent} belongs to another user") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"the connection to the peer on {path.parent} broke: {error or type(error).__name__}"
        ) from error
    except msgspec.DecodeError as error:
        raise LocalError(f"the peer on {path.parent} is of another version: {error}; restart it") from error
