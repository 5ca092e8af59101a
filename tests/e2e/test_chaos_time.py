"""Faults that pass, or that are about time: a partition that heals, wall clocks that are stepped by an hour.

Each test prints how long the job took and what it would have taken without the fault.
"""

import time

import pytest
from chaos_helpers import RunningJob, places, wait_until, why_no_namespaces
from e2e_helpers import wait_until_known
from stepped_clock import SteppedClock, why_no_stepped_clock

pytestmark = pytest.mark.long
ITEM_S = 0.3
SQUARES = f"import time\ndef run(item):\n    time.sleep({ITEM_S})\n    return item * item\n"
CUT_S = 20.0
HOUR_S = 3600
END_S = 150.0


class Timed:
    """A job over some workers, timed from its start to its end."""

    def __init__(self, first, job, items: int, workers: int, *options: str) -> None:
        self._ideal_s = items * ITEM_S / workers
        self._right = [item * item for item in range(items)]
        self._began = time.monotonic()
        words = job.write(SQUARES, list(range(items)))
        self.running = RunningJob(first, words, "--local", "off", "--verify", "none", *options)

    def end_well(self, fault: str) -> dict:
        """The last view, of a job in which nothing is missing, wrong or done without need."""
        view = self.running.wait_end(END_S)
        took_s = time.monotonic() - self._began
        print(f"\n{fault}: {took_s:.1f} s, {took_s - self._ideal_s:.1f} s more than the work takes on all workers")
        assert (view["state"], self.running.results()) == ("done", self._right)
        leases = sum("works with" in line for line in view["events"])
        assert view["executions"] <= len(self._right) + leases * 8, "more is lost with a lease than is with a worker"
        return view


@pytest.mark.skipif(bool(why_no_namespaces()), reason=why_no_namespaces() or "-")
def test_a_partition_that_heals(start_peer, job):
    """Half of the workers are on the other side for a while, and work on afterwards."""
    with places(5) as there:
        first = start_peer("first", within=there[0].within, listen=there[0].listen)
        workers = [
            start_peer(f"w{one.number}", "--bootstrap", first.bootstrap, within=one.within, listen=one.listen)
            for one in there[1:]
        ]
        for worker in workers:
            worker.wait_for("joined")
        wait_until_known(first, 4)
        timed = Timed(first, job, 400, 4)
        timed.running.wait_for_progress(20)
        for place in there[3:]:
            place.cut()
        cut_at = time.monotonic()
        wait_until(lambda: sum("no sign of life" in line for line in timed.running.view()["events"]) == 2)
        wait_until(lambda: time.monotonic() >= cut_at + CUT_S)
        for place in there[3:]:
            place.mend()
        view = timed.end_well(f"half of the workers cut off for {CUT_S:.0f} s")
    again = {line.split()[2] for line in view["events"] if "works with" in line and seconds_of(line) > CUT_S}
    assert again, "nobody of the other side came back"


def seconds_of(line: str) -> float:
    return float(line.split(maxsplit=1)[0])


@pytest.mark.skipif(bool(why_no_stepped_clock()), reason=why_no_stepped_clock() or "-")
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("whose", ["coordinator", "worker"])
def test_a_clock_that_is_stepped_by_an_hour_while_a_job_runs(start_peer, job, tmp_path, whose, step_s):
    """Time limits are about the other clock: nothing ends early or never, and who owes what stays as it was."""
    clock = SteppedClock(tmp_path / "clock")
    more = {whose: clock.environment}
    first = start_peer("first", more=more.get("coordinator"))
    victim = start_peer("victim", "--bootstrap", first.bootstrap, more=more.get("worker"))
    other = start_peer("other", "--bootstrap", first.bootstrap)
    for worker in (victim, other):
        worker.wait_for("joined")
    wait_until_known(first, 2)
    timed = Timed(first, job, 60, 2, "--deadline", "10m")
    timed.running.wait_for_progress(10)
    clock.step(step_s)
    view = timed.end_well(f"the clock of the {whose} stepped by {step_s:+} s")
    assert {one["state"] for one in view["workers"]} == {"working"}, "somebody was let go for it"
    ended_s = view["ended_at_unix_s"] - view["submitted_at_unix_s"]
    assert abs(ended_s - (step_s if whose == "coordinator" else 0)) < END_S, "the step has not reached the peer"
    assert 0 < view["elapsed_s"] < END_S and view["credits"] > 0


@pytest.mark.skipif(bool(why_no_stepped_clock()), reason=why_no_stepped_clock() or "-")
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_peer_whose_clock_was_wrong_works_with_others_once_it_is_right(start_peer, job, tmp_path, step_s):
    """While it is wrong, it takes the records of others for expired or for too far ahead, and finds nobody."""
    clock = SteppedClock(tmp_path / "clock")
    first = start_peer("first", more=clock.environment)
    start_peer("other", "--bootstrap", first.bootstrap).wait_for("joined")
    wait_until_known(first, 1)
    clock.step(step_s)
    wrong = RunningJob(first, job.write(SQUARES, [1, 2, 3]), "--local", "off", "--verify", "none")
    view = wrong.wait_end(END_S)
    assert view["state"] == "failed" and "the directory knows no other peer" in view["message"], view["message"]
    clock.step(0)
    wait_until_known(first, 1)
    Timed(first, job, 30, 1).end_well(f"a job after a clock was wrong by {step_s:+} s for another job")
