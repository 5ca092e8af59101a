"""The owner's word over real peers: a pause hands chunks back, leave is asked for and given."""

import json

import pytest
from e2e_helpers import Peer, make_network, run_command, wait_until_known
from test_submit import start_submit, wait_for_progress

pytestmark = pytest.mark.slow

SLOW_SQUARES = "import time\ndef run(item):\n    time.sleep(0.15)\n    return item * item\n"


def say(peer: Peer, *words: str) -> str:
    """What a command says to people."""
    ended = run_command(*words, "--data", str(peer.folder))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def status(peer: Peer) -> dict:
    return json.loads(run_command("status", "--json", "--data", str(peer.folder)).stdout)


def workers(view: dict) -> dict[str, dict]:
    return {one["peer"]: one for one in view["workers"]}


@pytest.mark.long
def test_a_pause_hands_the_chunks_back_and_the_job_ends_elsewhere(start_peer, job):
    first, pausing, other = make_network(start_peer, "", "")
    words = job.write(SLOW_SQUARES, list(range(150)))
    process, name = start_submit([*words, "--local", "off", "--verify", "none"], first.folder)
    view = wait_for_progress(first.folder, name, 20)
    assert workers(view)[pausing.id]["items_done"] > 0
    assert "paused by its owner; `peer resume` ends that" in say(pausing, "pause")
    assert (status(pausing)["leases"], status(pausing)["slots_busy"]) == (0, 0)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert [line["result"] for line in job.results()] == [n * n for n in range(150)]
    ended = workers(job.report())
    assert ended[pausing.id]["state"] == "left: paused by its owner"
    assert ended[pausing.id]["credits"] > 0, "what was done before the pause is paid"
    assert ended[other.id]["items_done"] > ended[pausing.id]["items_done"]

    lone = run_command(*job.write(SLOW_SQUARES, [1]), "--force", "--data", str(first.folder), "--local", "off",
                       "--verify", "none")  # fmt: skip
    assert lone.returncode == 0 and set(workers(job.report())) == {other.id}
    assert "it works for others" in say(pausing, "resume")
    say(other, "pause", "--for", "2h")
    again = run_command(*job.write(SLOW_SQUARES, [1, 2]), "--force", "--data", str(first.folder), "--local", "off",
                        "--verify", "none")  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert set(workers(job.report())) == {pausing.id}
    for peer in (first, pausing, other):
        assert "Traceback" not in peer.log.read_text()


def test_who_must_ask_is_let_in_during_the_job(start_peer, job):
    first = start_peer("first")
    worker = start_peer("worker", "--bootstrap", first.bootstrap, "--accept", "ask", "--max-cpu", "50%")
    worker.wait_for("joined")
    words = job.write(SLOW_SQUARES, list(range(5)))
    process, _ = start_submit([*words, "--local", "off", "--verify", "none", "--worker-wait", "100"], first.folder)
    while not status(worker)["asked"]:
        assert process.poll() is None, process.communicate()
    assert first.id in say(worker, "requests")
    assert "1 peer would like to be let in" in say(worker, "status")
    say(worker, "accept", first.id[-8:])
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert status(worker)["asked"] == 0 and "Nobody waits" in say(worker, "requests")


def test_a_job_says_what_it_requires_and_ends_at_its_budget(start_peer, job):
    first = start_peer("first")
    worker = start_peer("worker", "--bootstrap", first.bootstrap, "--memory", "1G")
    worker.wait_for("joined")
    wait_until_known(first, 1)
    words = [*job.write(SLOW_SQUARES, list(range(200))), "--local", "off", "--verify", "none", "--force", "--data",
             str(first.folder)]  # fmt: skip
    ended = run_command(*words, "--memory", "4G", "--gpu", "nvidia:16G", "--worker-wait", "5")
    assert ended.returncode == 3, ended.stderr
    lacked = f"…{worker.id[-6:]} lacks memory (1 GiB of 4 GiB) and a GPU (none; wanted: nvidia:16G)"
    assert f"1 found: {lacked}" in job.report()["message"] and lacked in ended.stderr

    ended = run_command(*words, "--memory", "512M", "--runtime-version", ">=3.11", "--budget", "0.5")
    assert ended.returncode == 5, ended.stderr
    report = job.report()
    assert (report["state"], 0 < report["items_done"] < 200) == ("stopped", True)
    assert "the budget of 0.5 credits is reached; what is accepted is kept and paid" in report["message"]
    assert [line["ok"] for line in job.results()].count(True) == report["items_done"]
    assert status(worker)["credits_earned"] == pytest.approx(report["credits"]) and report["credits"] > 0

    ended = run_command(*words, "--memory", "512M", "--deadline", "2s")
    assert ended.returncode == 5 and "the deadline of 2 s is reached" in job.report()["message"]
