"""`peer submit` end to end over real peers: what comes back, what fails, what is interrupted."""

import json
import os
import signal
import subprocess
import time

import pytest
from e2e_helpers import COMMAND, environment, make_network, run_command, wait_until_known

pytestmark = pytest.mark.slow

SQUARES = "def run(item):\n    return item * item\n"
SLOW_SQUARES = "import time\ndef run(item):\n    time.sleep(0.2)\n    return item * item\n"
UNLUCKY = """
def run(item):
    if item == 7:
        raise ValueError("seven is unlucky")
    print("worked on", item)
    return {"value": item}
"""
STUCK = """
import time
def run(item):
    while item == 3:
        pass
    return item
"""


def wait_for_state(folder, job, states):
    """The job's view once it is in one of these states."""
    deadline = time.monotonic() + 60
    while True:
        view = json.loads(run_command("job", "show", job, "--json", "--data", str(folder)).stdout)
        if view["state"] in states:
            return view
        assert time.monotonic() < deadline, view


def wait_for_progress(folder, job, items):
    """The job's view once so many items are done."""
    deadline = time.monotonic() + 60
    while True:
        view = json.loads(run_command("job", "show", job, "--json", "--data", str(folder)).stdout)
        if view["items_done"] >= items:
            return view
        assert view["state"] in ("calling", "running"), view
        assert time.monotonic() < deadline, view


def start_submit(words, folder):
    """A `peer submit` that runs while the test goes on; and its job's id."""
    process = subprocess.Popen(
        [*COMMAND, *words, "--data", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while True:
        jobs = json.loads(run_command("job", "list", "--json", "--data", str(folder)).stdout or "[]")
        if jobs:
            return process, jobs[0]["id"]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline


def test_results_come_in_input_order_with_a_report(start_peer, job):
    first, *_ = make_network(start_peer, "", "")
    ended = run_command(*job.write(SQUARES, list(range(500))), "--local", "off", "--data", str(first.folder))
    assert ended.returncode == 0, ended.stderr
    assert [(line["item"], line["ok"], line["result"]) for line in job.results()] == [
        (n, True, n * n) for n in range(500)
    ]
    report = job.report()
    assert report == json.loads(ended.stdout)["job"]
    assert (report["state"], report["items_done"], report["items_failed"]) == ("done", 500, 0)
    assert len([one for one in report["workers"] if one["items_done"]]) == 2
    assert report["executions"] > 500


def test_a_function_that_raises_fails_its_item_alone_and_is_shown(start_peer, job):
    first, *_ = make_network(start_peer, "", "")
    ended = run_command(*job.write(UNLUCKY, list(range(20))), "--local", "off", "--data", str(first.folder))
    assert ended.returncode == 1
    lines = job.results()
    assert [line["item"] for line in lines if not line["ok"]] == [7]
    assert lines[7]["error"] == "ValueError: seven is unlucky"
    assert "line 4, in run" in lines[7]["traceback"]
    assert lines[6]["result"] == {"value": 6}
    shown = run_command(*job.write(UNLUCKY, [7]), "--force", "--data", str(first.folder))
    assert "item 0 failed on " in run_command("job", "results", "last", "--out", str(job.out / "again"),
                                              "--data", str(first.folder)).stderr  # fmt: skip
    assert shown.returncode == 1
    logs = run_command("job", "logs", first_job(first), "--data", str(first.folder))
    assert "worked on 6" in logs.stdout


def first_job(peer):
    """The id of the oldest job of a peer."""
    return json.loads(run_command("job", "list", "--json", "--data", str(peer.folder)).stdout)[-1]["id"]


def test_a_function_that_never_returns_fails_its_item_alone(start_peer, job):
    first, *_ = make_network(start_peer, "")
    words = job.write(STUCK, list(range(6)))
    ended = run_command(*words, "--item-timeout", "1", "--verify", "none", "--data", str(first.folder))
    assert ended.returncode == 1, ended.stderr
    assert [(line["item"], line["ok"]) for line in job.results()] == [(n, n != 3) for n in range(6)]
    assert "time limit" in job.results()[3]["error"]


def test_results_that_are_not_data_are_errors_of_their_items(start_peer, job):
    first = start_peer("a")
    first.wait_for("joined")
    code = "def run(item):\n    return object() if item else [1.5, None, 'x']\n"
    ended = run_command(*job.write(code, [0, 1]), "--data", str(first.folder))
    assert ended.returncode == 1
    assert [line["ok"] for line in job.results()] == [True, False]


def test_a_worker_killed_in_the_middle_of_a_chunk_loses_nothing(start_peer, job):
    first, second, third = make_network(start_peer, "", "")
    words = job.write(SLOW_SQUARES, list(range(60)))
    process, identity = start_submit([*words, "--local", "off", "--verify", "none"], first.folder)
    wait_for_progress(first.folder, identity, 4)
    second.process.kill()
    out, complaints = process.communicate(timeout=100)
    assert process.returncode == 0, complaints
    assert [line["result"] for line in job.results()] == [n * n for n in range(60)]
    states = {one["peer"]: one["state"] for one in json.loads(out)["job"]["workers"]}
    assert states[second.id].startswith("left: ")
    assert third.process.poll() is None


def test_a_liar_is_caught_and_nothing_of_it_stays(start_peer, job):
    first, honest, liar = make_network(start_peer, "", "lie:1.0")
    words = job.write(SLOW_SQUARES, list(range(40)))
    ended = run_command(*words, "--data", str(first.folder))
    assert ended.returncode == 0, ended.stderr
    report = job.report()
    assert report["liars"] == [liar.id]
    assert [line["result"] for line in job.results()] == [n * n for n in range(40)]
    assert liar.id not in {line["worker"] for line in job.results()}
    shown = run_command("job", "show", "last", "--data", str(first.folder)).stdout
    assert "liars caught" in shown
    assert "⚠ lies on purpose (lie:1)" in shown or "⚠ lies on purpose (lie:1.0)" in shown
    banned = run_command("peers", "--json", "--data", str(first.folder))
    assert {one["peer"]: bool(one["banned"]) for one in json.loads(banned.stdout)} == {honest.id: False, liar.id: True}


def test_no_worker_ends_with_3_and_says_why(start_peer, job):
    alone = start_peer("a")
    alone.wait_for("joined")
    words = [*job.write(SQUARES, [1, 2]), "--local", "off", "--worker-wait", "1", "--data", str(alone.folder)]
    ended = run_command(*words)
    assert ended.returncode == 3
    assert "directory knows no other peer" in json.loads(ended.stdout)["job"]["message"]
    dear = start_peer("b", "--bootstrap", alone.bootstrap, "--price", "50")
    dear.wait_for("joined")
    wait_until_known(alone, 1)
    refused = run_command(*words, "--force")
    assert refused.returncode == 3
    assert json.loads(refused.stdout)["job"]["funnel"]["refused"] == {"price too low": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_is_cancelled_and_keeps_what_is_finished(start_peer, job, number):
    first = start_peer("a")
    first.wait_for("joined")
    process, identity = start_submit(job.write(SLOW_SQUARES, list(range(200))), first.folder)
    wait_for_progress(first.folder, identity, 5)
    process.send_signal(number)
    out, complaints = process.communicate(timeout=20)
    assert process.returncode == 130, complaints
    lines = job.results()
    assert [line["item"] for line in lines] == list(range(200))
    assert sum(line["ok"] for line in lines) >= 5
    assert lines[-1]["error"] == "not run: the job was cancelled"
    assert json.loads(out)["job"]["state"] == "cancelled"
    assert first.process.poll() is None


def test_a_detached_job_is_listed_shown_cancelled_and_its_results_fetched(start_peer, job):
    first = start_peer("a")
    first.wait_for("joined")
    data = ["--data", str(first.folder)]
    words = [word for word in job.write(SQUARES, [1, 2, 3]) if word != "--json"]
    submitted = run_command(*words, "--detach", *data)
    assert submitted.returncode == 0
    identity = submitted.stdout.strip()
    wait_for_state(first.folder, identity, ["done"])
    assert identity[:12] in run_command("job", "list", *data).stdout
    printed = run_command("job", "results", identity[:8], *data).stdout
    assert [json.loads(line)["result"] for line in printed.splitlines()] == [1, 4, 9]
    endless = run_command(*job.write(SLOW_SQUARES, list(range(500))), "--detach", *data)
    running = json.loads(endless.stdout)["job"]
    assert run_command("job", "cancel", running, *data).returncode == 0
    assert wait_for_state(first.folder, running, ["cancelled"])["items"] == 500
    missing = run_command("job", "show", "nonesuch", *data)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


def test_without_a_running_peer_one_is_started_for_the_job_and_ended(job, tmp_path):
    folder = tmp_path / "fresh"
    ended = run_command(*job.write(SQUARES, [1, 2, 3]), "--data", str(folder))
    assert ended.returncode == 0, ended.stderr
    assert [line["result"] for line in job.results()] == [1, 4, 9]
    assert run_command("status", "--data", str(folder)).returncode == 1


def test_a_peer_started_for_a_detached_job_stays_until_it_is_stopped(job, tmp_path):
    folder = tmp_path / "fresh"
    ended = run_command(*job.write(SQUARES, [1, 2, 3]), "--detach", "--data", str(folder))
    assert ended.returncode == 0, ended.stderr
    assert "the peer stays to finish the job" in ended.stderr
    wait_for_state(folder, json.loads(ended.stdout)["job"], ["done"])
    assert run_command("stop", "--data", str(folder)).returncode == 0


def test_a_peer_started_for_a_job_is_told_where_to_join(start_peer, job, tmp_path):
    worker = start_peer("worker")
    words = [*job.write(SQUARES, list(range(50))), "--local", "off", "--verify", "none"]
    ended = run_command(*words, "--bootstrap", worker.bootstrap, "--data", str(tmp_path / "fresh"))
    assert ended.returncode == 0, ended.stderr
    assert {line["worker"] for line in job.results()} == {worker.id}


def test_a_killed_peer_keeps_the_results_of_its_job_and_goes_on_with_it(start_peer, job):
    first = start_peer("a")
    first.wait_for("joined")
    process, identity = start_submit(job.write(SLOW_SQUARES, list(range(200))), first.folder)
    done = wait_for_progress(first.folder, identity, 5)["items_done"]
    first.process.kill()
    first.process.wait()
    _, complaints = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" not in complaints
    again = start_peer("a")
    again.wait_for("resumed")
    view = json.loads(run_command("job", "show", identity, "--json", "--data", str(again.folder)).stdout)
    assert view["state"] in ("calling", "running")
    printed = run_command("job", "results", identity, "--data", str(again.folder)).stdout
    assert len(printed.splitlines()) >= done


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_at_the_journal_is_said_and_the_peer_lives(start_peer, job, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        peer = start_peer("small")
        peer.wait_for("joined")
        code = "def run(item):\n    return 'x' * 100_000\n"
        ended = run_command(*job.write(code, list(range(40))), "--data", str(peer.folder))
        assert ended.returncode not in (0, 130)
        assert "full" in ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr
        assert run_command("status", "--data", str(peer.folder)).returncode == 0
        peer.end()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
