"""Jobs that outlive their peer, over real processes and real kills: they go on, end right, and repeat nothing."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import closing

import pytest
from e2e_helpers import COMMAND, EVENT_TIMEOUT_S, Peer, environment, run_command, wait_until_known

from peer.journal import Journal
from protocol.ids import JobId

pytestmark = pytest.mark.slow

SAYS_ITEM = "import time\ndef run(item):\n    print(item)\n    time.sleep(0.1)\n    return item * item\n"
ITEMS = list(range(80))
SQUARES = [n * n for n in ITEMS]


def ask(folder, *words: str, code: int = 0) -> dict | list:
    """What a command says in JSON, with the exit code that it must end with."""
    ended = run_command(*words, "--json", "--data", str(folder))
    assert ended.returncode == code, ended.stderr
    return json.loads(ended.stdout)


def wait_until(folder, job: str, holds) -> dict:
    """The job's view once this holds for it."""
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while True:
        view = ask(folder, "job", "show", job)
        if holds(view):
            return view
        assert time.monotonic() < deadline, view


def accepted_of(folder, job: str) -> set[int]:
    """The items that have a result in the journal of a peer that does not run."""
    with closing(Journal.open(folder / "journal.sqlite")) as journal:
        return set(journal.outcomes(JobId(job)))


def printed(folder, job: str) -> Counter:
    """How often each item was executed, as far as its output came here."""
    lines = [line for row in ask(folder, "job", "logs", job) for line in row["text"].split()]
    return Counter(map(int, lines))


def two_peers(start_peer) -> tuple[Peer, Peer]:
    """A worker and a peer that knows it."""
    worker = start_peer("worker")
    first = start_peer("first", "--bootstrap", worker.bootstrap)
    first.wait_for("joined")
    wait_until_known(first, 1)
    return worker, first


def test_a_job_of_a_killed_coordinator_goes_on_and_repeats_nothing_that_was_accepted(start_peer, job):
    worker, first = two_peers(start_peer)
    words = [*job.write(SAYS_ITEM, ITEMS), "--detach", "--verify", "none", "--local", "off"]
    name = json.loads(run_command(*words, "--data", str(first.folder)).stdout)["job"]
    wait_until(first.folder, name, lambda view: view["items_done"] >= 15)
    first.process.kill()
    first.process.wait()
    accepted = accepted_of(first.folder, name)
    assert 15 <= len(accepted) < 80
    again = start_peer("first", "--bootstrap", worker.bootstrap)
    assert again.wait_for("resumed")["jobs"] == 1
    view = wait_until(again.folder, name, lambda view: view["state"] not in ("calling", "running"))
    assert (view["id"], view["state"], view["items_done"], view["resumes"]) == (name, "done", 80, 1)
    ask(again.folder, "job", "results", name, "--out", str(job.out))
    assert [line["result"] for line in job.results()] == SQUARES
    times = printed(again.folder, name)
    assert set(times) == set(ITEMS) and {times[item] for item in accepted} == {1}
    assert view["executions"] <= 80 + len(ITEMS) - len(accepted)
    assert any(f"goes on: {len(accepted)} of 80 items stand" in line for line in view["events"])
    for peer in (worker, again):
        assert "Traceback" not in peer.log.read_text()


def test_what_a_worker_finished_while_its_coordinator_was_dead_is_not_run_again(start_peer, job):
    slow = "import time\ndef run(item):\n    print(item)\n    time.sleep(3)\n    return item * item\n"
    items = list(range(8))
    worker, first = two_peers(start_peer)
    words = [*job.write(slow, items), "--detach", "--verify", "none", "--local", "off"]
    name = json.loads(run_command(*words, "--data", str(first.folder)).stdout)["job"]
    wait_until(first.folder, name, lambda view: view["items_done"] >= 2)
    first.process.kill()
    first.process.wait()
    accepted = accepted_of(first.folder, name)
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while not (kept := ask(worker.folder, "status")["kept"]):
        assert time.monotonic() < deadline
    assert kept[0]["coordinator"] == first.id and kept[0]["results"] >= 1
    again = start_peer("first", "--bootstrap", worker.bootstrap)
    again.wait_for("resumed")
    view = wait_until(again.folder, name, lambda view: view["state"] not in ("calling", "running"))
    assert (view["state"], view["items_done"], view["resumes"]) == ("done", 8, 1)
    handed_over = sum(one["handed_over"] for one in view["workers"])
    assert handed_over >= 1 and len(accepted) + handed_over <= 8
    assert printed(again.folder, name) == Counter(dict.fromkeys(items, 1)), "an item was run twice"
    assert view["executions"] == 8
    ask(again.folder, "job", "results", name, "--out", str(job.out))
    assert [line["result"] for line in job.results()] == [item * item for item in items]
    said = run_command("job", "show", name, "--data", str(again.folder)).stdout
    assert "handed over by 1 peer" in said, said
    for peer in (worker, again):
        assert "Traceback" not in peer.log.read_text()


@pytest.mark.long
def test_a_job_whose_own_peer_was_killed_is_finished_by_another_on_its_folder(start_peer, job, tmp_path):
    worker = start_peer("worker")
    folder = tmp_path / "fresh"
    words = [*job.write(SAYS_ITEM, ITEMS), "--verify", "none", "--local", "off", "--bootstrap", worker.bootstrap]
    submit = subprocess.Popen(
        [*COMMAND, *words, "--data", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(), start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while not run_command("job", "list", "--json", "--data", str(folder)).stdout.startswith("[{"):
        assert submit.poll() is None and time.monotonic() < deadline
    wait_until(folder, "last", lambda view: view["items_done"] >= 10)
    os.kill(ask(folder, "status")["pid"], signal.SIGKILL)
    _, complaints = submit.communicate(timeout=30)
    assert submit.returncode == 1 and "`peer start` goes on with it" in complaints
    again = start_peer("fresh", "--bootstrap", worker.bootstrap)
    again.wait_for("resumed")
    view = ask(folder, "job", "resume", "last")
    assert (view["state"], view["items_done"]) == ("done", 80)
    ask(folder, "job", "results", "last", "--out", str(job.out), "--force")
    assert [line["result"] for line in job.results()] == SQUARES


def test_a_paused_job_stays_so_over_a_restart_and_is_resumed(start_peer, job):
    worker, first = two_peers(start_peer)
    words = [*job.write(SAYS_ITEM, ITEMS), "--detach", "--verify", "none", "--local", "off"]
    name = json.loads(run_command(*words, "--data", str(first.folder)).stdout)["job"]
    wait_until(first.folder, name, lambda view: view["items_done"] >= 10)
    paused = ask(first.folder, "job", "pause", name)
    assert paused["state"] == "paused"
    run_command("stop", "--data", str(first.folder))
    first.process.wait()
    accepted = accepted_of(first.folder, name)
    again = start_peer("first", "--bootstrap", worker.bootstrap)
    again.wait_for("joined")
    assert ask(again.folder, "job", "show", name)["state"] == "paused"
    view = ask(again.folder, "job", "resume", name)
    assert (view["state"], view["items_done"], view["resumes"]) == ("done", 80, 1)
    times = printed(again.folder, name)
    assert {times[item] for item in accepted} == {1}
    refused = run_command("job", "resume", name, "--data", str(again.folder))
    assert refused.returncode == 2 and f"job {name} is done" in refused.stderr
