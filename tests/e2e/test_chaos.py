"""Faults on real processes and real links: the job ends with every item right, whatever becomes of a worker."""

import json
import signal

import pytest
from chaos_helpers import RunningJob, dripping_worker, places, small_disk, stopped, why_no_namespaces
from e2e_helpers import make_network, wait_until_known

pytestmark = pytest.mark.long
SQUARES = "import time\ndef run(item):\n    time.sleep(0.3)\n    return item * item\n"
ITEMS = 60
BULKY = "import time\ndef run(item):\n    time.sleep(0.3)\n    return [item * item, 'x' * 2000]\n"
RIGHT = [item * item for item in range(ITEMS)]
END_S = 60.0
"""Alone, one worker takes 18 s; a fault costs at most the silence, the hedges and what was with the worker."""

needs_namespaces = pytest.mark.skipif(bool(why_no_namespaces()), reason=why_no_namespaces() or "-")


def job_of(first, job) -> RunningJob:
    return RunningJob(first, job.write(SQUARES, list(range(ITEMS))), "--local", "off", "--verify", "none")


def test_a_worker_that_is_killed(start_peer, job):
    first, victim, _ = make_network(start_peer, "", "")
    running = job_of(first, job)
    running.wait_for_progress(5)
    victim.end(signal.SIGKILL)
    view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    assert state_of(view, victim).startswith("left: ")


def test_a_worker_that_is_stopped_for_the_rest_of_the_job(start_peer, job):
    """Its kernel goes on taking what it is sent: only its silence tells."""
    first, victim, _ = make_network(start_peer, "", "")
    running = job_of(first, job)
    running.wait_for_progress(5)
    with stopped(victim):
        view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    assert state_of(view, victim) == "left: no sign of life"


def test_a_worker_that_is_stopped_before_the_job(start_peer, job):
    """Its connection is open and its kernel takes the call for bids: it never answers, and holds nobody up."""
    first, victim, _ = make_network(start_peer, "", "")
    with stopped(victim):
        running = job_of(first, job)
        view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    states = {one["peer"]: one["state"] for one in view["candidates"]}
    assert states[victim.id] == "unreachable"


def network_of(start_peer, there):
    """A coordinator in the first place and a worker in each of the others."""
    first = start_peer("first", within=there[0].within, listen=there[0].listen)
    others = [
        start_peer(f"worker{place.number}", "--bootstrap", first.bootstrap, within=place.within, listen=place.listen)
        for place in there[1:]
    ]
    for other in others:
        other.wait_for("joined")
    wait_until_known(first, len(others))
    return first, *others


@needs_namespaces
def test_a_worker_whose_link_goes_down_without_a_word(start_peer, job):
    with places(3) as there:
        first, victim, _ = network_of(start_peer, there)
        running = job_of(first, job)
        running.wait_for_progress(5)
        there[1].cut()
        view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    assert state_of(view, victim) == "left: no sign of life"


@needs_namespaces
def test_a_link_with_200_ms_of_latency_that_loses_a_packet_in_twenty(start_peer, job):
    with places(3, slow={1: (0.2, 0.05), 2: (0.2, 0.05)}) as there:
        assert there[0].round_trip_s(there[1].address) >= 0.2
        first, one, other = network_of(start_peer, there)
        running = job_of(first, job)
        view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    assert state_of(view, one) == state_of(view, other) == "working", "nobody is let go for a slow link"


def state_of(view: dict, peer) -> str:
    return state_of_id(view, peer.id)


def state_of_id(view: dict, peer: str) -> str:
    return next(one["state"] for one in view["workers"] if one["peer"] == peer)


@needs_namespaces
def test_a_disk_that_gets_full_ends_the_job_with_a_reason_and_a_retry_does_the_rest(start_peer, job, tmp_path):
    with small_disk(tmp_path / "first", "1m") as disk:
        first = start_peer("first", within=disk.within)
        start_peer("other", "--bootstrap", first.bootstrap).wait_for("joined")
        running = RunningJob(first, job.write(BULKY, list(range(ITEMS))), "--verify", "none", within=disk.within)
        running.wait_for_progress(5)
        disk.fill()
        view = running.wait_end(END_S)
        assert view["state"] == "failed" and "is full" in view["message"], view["message"]
        kept = view["items_done"]
        assert kept >= 5
        status = running.command("status", "--json")
        assert status.returncode == 0, "a full disk ends the job, not the peer"
        disk.free()
        retried = running.command("job", "retry", running.id, "--json")
        assert retried.returncode == 0, retried.stderr
        assert 0 < json.loads(retried.stdout)["retried"] <= ITEMS - 5
        assert [value[0] for value in running.results()] == RIGHT


@needs_namespaces
def test_a_worker_whose_disk_is_full_works_on(start_peer, job, tmp_path):
    with small_disk(tmp_path / "victim", "1m") as disk:
        first = start_peer("first")
        victim = start_peer("victim", "--bootstrap", first.bootstrap, within=disk.within)
        victim.wait_for("joined")
        wait_until_known(first, 1)
        running = job_of(first, job)
        running.wait_for_progress(5)
        disk.fill()
        view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    assert state_of(view, victim) == "working"


@pytest.mark.parametrize("point", ["called", "awarded", "assigned"])
def test_a_worker_that_sends_a_byte_a_second(start_peer, job, point):
    """A stranger's program over the real wire, by the book up to a point: it never says anything in time after it."""
    first, _ = make_network(start_peer, "")
    with dripping_worker(first.bootstrap, point) as dripping:
        wait_until_known(first, 2)
        running = job_of(first, job)
        view = running.wait_end(END_S)
    assert (view["state"], running.results()) == ("done", RIGHT)
    (candidate,) = [one for one in view["candidates"] if one["peer"] == dripping]
    assert candidate["state"] != "found", "it was called"
    if point == "assigned":
        assert any(f"{dripping[-8:]} left: no sign of life" in line for line in view["events"]), view["events"]
    else:
        assert dripping not in {one["peer"] for one in view["workers"]}
