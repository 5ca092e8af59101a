"""Past jobs over real peers: what a liar had given is done again, and so is, by hand, what was never run."""

import json
import time

import pytest
from e2e_helpers import EVENT_TIMEOUT_S, Peer, make_network, run_command

pytestmark = pytest.mark.slow

SLOW_SQUARES = "import time\ndef run(item):\n    time.sleep(0.1)\n    return item * item\n"
ITEMS = list(range(60))
SQUARES = [n * n for n in ITEMS]


def ask(peer: Peer, *words: str, code: int = 0) -> dict:
    """What a command says in JSON, with the exit code that it must end with."""
    ended = run_command(*words, "--json", "--data", str(peer.folder))
    assert ended.returncode == code, ended.stderr
    return json.loads(ended.stdout)


def wait_until(peer: Peer, job: str, **wanted: object) -> dict:
    """The job's view once these of its fields are so."""
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while True:
        view = ask(peer, "job", "show", job)
        if all(view[name] == value for name, value in wanted.items()):
            return view
        assert time.monotonic() < deadline, view


def test_what_a_liar_gave_to_a_past_job_is_done_again_and_right(start_peer, job):
    first, honest, liar = make_network(start_peer, "", "lie:1")
    believed = [*job.write(SLOW_SQUARES, ITEMS), "--verify", "none", "--local", "off", "--data", str(first.folder)]
    assert run_command(*believed).returncode == 0
    past, lines = job.report()["id"], job.results()
    wrong = [line["item"] for line in lines if line["worker"] == liar.id]
    assert [line["result"] for line in lines] != SQUARES, "the liar was believed"

    checked = [*job.write(SLOW_SQUARES, ITEMS), "--verify", "audit:1", "--force", "--data", str(first.folder)]
    assert run_command(*checked).returncode == 0
    assert (job.report()["liars"], [line["result"] for line in job.results()]) == ([liar.id], SQUARES)
    caught_in = job.report()["id"]

    view = wait_until(first, past, state="done", retries=1)
    assert (view["items_done"], view["doubtful"], view["liars"]) == (60, 0, [liar.id])
    assert view["executions"] >= 60 + len(wrong) > 60
    assert any(f"{liar.id[-8:]} gave is done again: caught lying in job {caught_in}" in line for line in view["events"])
    out = ["--out", str(job.out), "--force"]
    ask(first, "job", "results", past, *out)
    assert [line["result"] for line in job.results()] == SQUARES
    assert {line["worker"] for line in job.results()} <= {honest.id, first.id}
    shown = run_command("job", "show", past, "--data", str(first.folder)).stdout
    assert "retried" in shown and f"`peer job results {past[:12]} --out DIR --force` writes them anew" in shown
    assert ask(first, "job", "retry", past)["retried"] == 0

    assert f" of job {caught_in}; no more work from this coordinator for 30 days" in liar.wait_for("complaint")["text"]
    status = ask(liar, "status")
    assert (status["complaints"], status["complaint"]["coordinator"]) == (1, first.id)
    assert "found wrong" in run_command("status", "--data", str(liar.folder)).stdout
    assert ask(honest, "status")["complaint"] is None
    for peer in (first, honest, liar):
        assert "Traceback" not in peer.log.read_text()


@pytest.mark.long
def test_a_cancelled_job_is_finished_by_hand(start_peer, job):
    first, _ = make_network(start_peer, "")
    words = [*job.write(SLOW_SQUARES, ITEMS), "--detach", "--verify", "none", "--local", "off"]
    name = json.loads(run_command(*words, "--data", str(first.folder)).stdout)["job"]
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while not ask(first, "job", "show", name)["items_done"]:
        assert time.monotonic() < deadline
    refused = run_command("job", "retry", name, "--data", str(first.folder))
    assert refused.returncode == 2 and f"job {name} still runs" in refused.stderr
    done = ask(first, "job", "cancel", name)["items_done"]
    assert 0 < done < 60
    ended = ask(first, "job", "retry", name)
    assert ended["retried"] == 60 - done
    assert (ended["job"]["state"], ended["job"]["items_done"]) == ("done", 60)
    ask(first, "job", "results", name, "--out", str(job.out))
    assert [line["result"] for line in job.results()] == SQUARES
