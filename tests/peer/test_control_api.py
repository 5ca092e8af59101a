"""The control API over its real Unix socket, asked by the real client from a thread."""

import stat
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from receipts import receipt

from peer import control_api
from peer.accept import Accept
from peer.availability import Availability
from peer.control_api import serve_control
from peer.control_client import ControlClient, NoPeer, _UnixConnection
from peer.door import Door
from peer.journal import Journal
from peer.presence import MachineSenses
from peer.trust_book import TrustBook
from peer.trust_views import LedgerView, TrustAction
from peer.views import (
    CandidateView,
    JobRequest,
    JobState,
    JobView,
    PeerView,
    ResultLine,
    StatusView,
    WorkerView,
)
from protocol.availability import AvailabilityRules
from protocol.errors import LocalError, Unavailable
from protocol.ids import JobId, PeerId

STATUS = StatusView(
    peer="12D3KooWtest", version="0", pid=1, data_folder="/x", uptime_s=1.0, addresses=[], bootstrap=[], connected=0,
    dht_contacts=0, records=0, slots=1, slots_busy=0, jobs_running=0, leases=0, sandbox="none", runtimes=[], price=1.0,
    speed=1.0, chunks_run=0, credits_earned=0.0,
)  # fmt: skip
REQUEST = JobRequest(name="n", code="def run(item): ...", items=[1, "two", {"three": [3.5]}])


class FakePeer:
    """Stands in for a whole peer; the journal is a real one."""

    def __init__(self) -> None:
        self.journal = Journal.open(None)
        self.jobs = self
        self.requests: list[JobRequest] = []
        self.stopped = trio.Event()
        self.changed = trio.Event()
        self.peers_error: Exception | None = None
        self.trust = TrustBook(self.journal, lambda: 1e9)
        self.shut: list[str] = []
        self.to_do_again = 0
        self.availability = Availability(AvailabilityRules(), MachineSenses(watch_use=False, watch_load=False),
                                         lambda: 1e9, lambda why: None)  # fmt: skip
        self.door = Door(Accept.ASK, lambda peer: False, lambda: 1e9, None)

    def shut_out(self, peer: PeerId, reason: str) -> None:
        self.shut.append(peer)

    def status(self) -> StatusView:
        return STATUS

    async def peers(self) -> list[PeerView]:
        if self.peers_error:
            raise self.peers_error
        return [PeerView(peer="a", fault="lie:0.3")]

    def stop(self) -> None:
        self.stopped.set()

    def submit(self, request: JobRequest) -> JobId:
        if request.runtime != "python":
            raise LocalError(f"no runtime {request.runtime}")
        self.requests.append(request)
        job = JobId(f"job-{len(self.requests)}")
        self.journal.add_job(JobView(id=job, name=request.name, state=JobState.RUNNING), request)
        return job

    def views(self) -> list[JobView]:
        return self.journal.jobs()

    def view(self, job: JobId) -> JobView:
        found = self.journal.job(job)
        if found is None:
            raise LocalError("unknown")
        return found

    async def wait_change(self, job: JobId, version: int) -> int:
        await self.changed.wait()
        return version + 1

    def cancel(self, job: JobId) -> None:
        self.journal.save_job(msgspec.structs.replace(self.view(job), state=JobState.CANCELLED))

    def pause(self, job: JobId) -> None:
        self.journal.save_job(msgspec.structs.replace(self.view(job), state=JobState.PAUSED))

    def resume(self, job: JobId) -> None:
        view = self.view(job)
        if not view.state.can_go_on:
            raise LocalError(f"job {job} is {view.state}")
        self.journal.save_job(msgspec.structs.replace(view, state=JobState.CALLING))

    def retry(self, job: JobId) -> int:
        view = self.view(job)
        if not view.state.is_final:
            raise LocalError(f"job {job} still runs")
        if self.to_do_again:
            self.journal.save_job(msgspec.structs.replace(view, state=JobState.CALLING))
        return self.to_do_again


@pytest.fixture
async def peer():
    made = FakePeer()
    yield made
    made.journal.close()


@pytest.fixture
async def ask(peer, tmp_path: Path, nursery):
    socket = tmp_path / "control.sock"
    await nursery.start(partial(serve_control, peer, socket))
    client = ControlClient(socket)

    async def ask(name: str, *args: object) -> object:
        return await trio.to_thread.run_sync(partial(getattr(client, name), *args), abandon_on_cancel=True)

    ask.path = socket
    return ask


async def test_only_the_owner_can_open_the_socket(ask):
    assert stat.S_IMODE(ask.path.stat().st_mode) == 0o600


async def test_status_and_peers_arrive_whole(ask):
    assert await ask("status") == STATUS
    assert await ask("peers") == [PeerView(peer="a", fault="lie:0.3")]


async def test_a_job_goes_in_and_comes_back(ask, peer):
    job = await ask("submit", REQUEST)
    assert peer.requests == [REQUEST]
    assert (await ask("job", job)).name == "n"
    assert (await ask("cancel", job)).state is JobState.CANCELLED
    assert [one.id for one in await ask("jobs")] == [job]


async def test_a_job_is_found_by_the_beginning_of_its_id_and_by_last(ask):
    await ask("submit", REQUEST)
    assert (await ask("job", "jo")).id == "job-1"
    await ask("submit", REQUEST)
    assert (await ask("job", "last")).id == "job-2"
    with pytest.raises(LocalError, match="2 jobs begin with 'job-'"):
        await ask("job", "job-")


async def test_a_past_job_is_retried_and_a_running_one_is_not(ask, peer):
    job = await ask("submit", REQUEST)
    with pytest.raises(LocalError, match=f"job {job} still runs"):
        await ask("retry", job)
    await ask("cancel", job)
    nothing = await ask("retry", job)
    assert (nothing.items, nothing.job.state) == (0, JobState.CANCELLED)
    peer.to_do_again = 2
    begun = await ask("retry", "last")
    assert (begun.items, begun.job.id, begun.job.state) == (2, job, JobState.CALLING)


async def test_a_job_is_paused_and_resumed_and_one_that_has_ended_is_not(ask):
    job = await ask("submit", REQUEST)
    assert (await ask("pause", "last")).state is JobState.PAUSED
    assert (await ask("resume", "last")).state is JobState.CALLING
    await ask("cancel", job)
    with pytest.raises(LocalError, match=f"job {job} is cancelled"):
        await ask("resume", job)


async def test_what_is_not_there_is_said(ask):
    for call in ("job", "cancel", "logs", "pause", "resume", "retry"):
        with pytest.raises(LocalError, match="no job 'none' here"):
            await ask(call, "none")


async def test_a_bad_request_is_refused_with_the_reason(ask):
    with pytest.raises(LocalError, match="no runtime cobol"):
        await ask("submit", msgspec.structs.replace(REQUEST, runtime="cobol"))
    with pytest.raises(LocalError, match=r"not a job.*local"):
        await ask("submit", msgspec.structs.replace(REQUEST, local=-1))


async def test_an_unavailable_network_stays_unavailable(ask, peer):
    peer.peers_error = Unavailable("nobody answers")
    with pytest.raises(Unavailable, match="nobody answers"):
        await ask("peers")


async def test_a_fault_inside_answers_500_and_the_api_goes_on(ask, peer):
    peer.peers_error = ZeroDivisionError("inside")
    with pytest.raises(LocalError, match="failed inside"):
        await ask("peers")
    assert await ask("status") == STATUS


async def test_a_body_over_the_limit_is_refused(ask, monkeypatch):
    monkeypatch.setattr(control_api, "REQUEST_SIZE_BYTES_MAX", 100)
    with pytest.raises(LocalError, match="split its inputs"):
        await ask("submit", JobRequest(name="n", code="x" * 200, items=[]))


async def test_results_stream_in_item_order_while_others_arrive(ask, peer):
    job = await ask("submit", REQUEST)
    peer.journal.record_results(job, [ResultLine(item=n, ok=True, result=n) for n in range(2500)])

    def read() -> list[bytes]:
        return list(ControlClient(ask.path).result_lines(job))

    lines = await trio.to_thread.run_sync(read)
    assert [msgspec.json.decode(line)["item"] for line in lines] == list(range(2500))


async def test_logs_are_given_by_chunk(ask, peer):
    job = await ask("submit", REQUEST)
    peer.journal.add_log(job, 1, "p", "one")
    peer.journal.add_log(job, 2, "p", "two")
    assert [row.text for row in await ask("logs", job)] == ["one", "two"]
    assert [row.text for row in await ask("logs", job, 2)] == ["two"]


async def test_logs_come_in_pages(ask, peer, monkeypatch):
    monkeypatch.setattr("peer.journal.LOG_ROWS_PER_READ", 2)
    job = await ask("submit", REQUEST)
    for number in range(3):
        peer.journal.add_log(job, number, "p", str(number))
    first = await ask("logs", job)
    assert [row.text for row in first] == ["0", "1"]
    rest = await ask("logs", job, None, first[-1].number)
    assert [row.text for row in rest] == ["2"]
    assert await ask("logs", job, None, rest[-1].number) == []


async def test_the_list_of_jobs_leaves_the_candidates_out(ask, peer):
    job = await ask("submit", REQUEST)
    peer.journal.save_job(msgspec.structs.replace(peer.view(job), candidates=[CandidateView(peer="p", state="bid")]))
    assert [one.candidates for one in await ask("jobs")] == [[]]
    assert [one.peer for one in (await ask("job", job)).candidates] == ["p"]


async def test_a_change_is_waited_for_and_a_final_job_is_not(ask, peer, nursery):
    job = await ask("submit", REQUEST)
    answers = []

    async def wait() -> None:
        answers.append(await ask("wait_change", job, 0))

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        assert await ask("status") == STATUS
        assert answers == []
        peer.changed.set()
    assert answers[0].version == 1
    peer.changed = trio.Event()
    await ask("cancel", job)
    assert (await ask("wait_change", job, 7)).view.state is JobState.CANCELLED


async def test_stop_answers_before_it_stops(ask, peer):
    await ask("stop")
    await peer.stopped.wait()


def test_no_socket_and_a_dead_socket_both_mean_no_peer(tmp_path):
    import socket

    with pytest.raises(NoPeer, match="no peer runs on"):
        ControlClient(tmp_path / "control.sock").status()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NoPeer, match="peer start"):
        ControlClient(tmp_path / "control.sock").status()


async def test_an_unknown_path_answers_in_json(ask):
    def get() -> tuple[int, bytes]:
        connection = _UnixConnection(ask.path)
        connection.request("GET", "/nowhere")
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    assert await trio.to_thread.run_sync(get) == (404, b'{"error":"Not Found"}')


async def test_what_is_known_of_others_is_asked_and_told(ask, peer):
    peer.trust.add_clean("12D3KooWgood", "job-1", 12.0, 3)
    peer.trust.caught("12D3KooWbad", "job-1", "wrong about item 3")
    assert [(one.peer, one.clean, one.offences) for one in await ask("trust")] == [
        ("12D3KooWbad", 0.0, 1),
        ("12D3KooWgood", 12.0, 0),
    ]
    case = await ask("trust_case", "good")
    assert case.trust.audits == 3 and [one.kind for one in case.evidence] == ["clean"]
    banned = await ask("judge", "good", TrustAction(action="ban", seconds=60.0, reason="slow"))
    assert banned.trust.banned_for_s == 60.0 and peer.shut == ["12D3KooWgood"]
    assert (await ask("judge", "good", TrustAction(action="pair"))).trust.paired
    assert (await ask("judge", "12D3KooWbad", TrustAction(action="forget"))).evidence == []


async def test_a_peer_that_is_not_known_or_meant_twice_and_a_senseless_action_are_refused(ask, peer):
    peer.trust.add_clean("12D3KooWone", "job", 1.0, 0)
    peer.trust.add_clean("12D3KooWtwo", "job", 1.0, 0)
    with pytest.raises(LocalError, match="no peer 'x' is known here"):
        await ask("trust_case", "x")
    with pytest.raises(LocalError, match="2 peers begin or end with '12D3'"):
        await ask("trust_case", "12D3")
    for action in (TrustAction(action="ban", seconds=-1.0), TrustAction(action="bless")):
        with pytest.raises(LocalError, match="no such action"):
            await ask("judge", "12D3KooWone", action)
    assert peer.shut == []


async def test_the_ledger_counts_what_is_pending(ask, peer):
    peer.journal.add_receipt(b"", receipt(0, 2.0), given=True, peer="a")
    peer.journal.add_receipt(b"", receipt(0, 5.0), given=False, peer="a")
    workers = [WorkerView(peer="b", state="working", pending=1.5)]
    peer.journal.add_job(JobView(id="j", name="j", state=JobState.RUNNING, workers=workers), REQUEST)
    assert await ask("ledger") == [
        LedgerView(peer="a", earned=5.0, spent=2.0, receipts=2),
        LedgerView(peer="b", pending=1.5),
    ]


async def test_a_pause_and_its_end(ask, peer):
    paused = await ask("pause_work", 7200.0)
    assert paused.why_not == "paused by its owner" and 7100 < paused.paused_for_s <= 7200
    assert (await ask("pause_work", None)).paused_for_s is None
    assert (await ask("resume_work")).why_not is None
    with pytest.raises(LocalError, match="at most 30 days"):
        await ask("pause_work", 1e9)
    with pytest.raises(LocalError, match=r"the body is no pause: .*seconds"):
        await ask("pause_work", -1.0)
    assert peer.availability.view().why_not is None


async def test_who_asked_is_shown_and_let_in(ask, peer):
    peer.door.leave(PeerId("12D3KooWfriend"))
    [asked] = await ask("requests")
    assert (asked.peer, asked.calls) == ("12D3KooWfriend", 1)
    with pytest.raises(LocalError, match="no peer 'x' has asked"):
        await ask("accept", "x")
    assert await ask("accept", "friend") == "12D3KooWfriend"
    assert await ask("requests") == []
