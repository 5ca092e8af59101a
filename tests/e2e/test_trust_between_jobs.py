"""Verification end to end over real peers: who lies together is caught, and a ban outlasts its job."""

import json

import pytest
from e2e_helpers import Peer, make_network, run_command

pytestmark = pytest.mark.slow

SLOW_SQUARES = "import time\ndef run(item):\n    time.sleep(0.1)\n    return item * item\n"
ITEMS = list(range(120))
"""Some forty chunks, so that each of five workers gets enough of them to be caught."""


def ask(peer: Peer, *words: str) -> list | dict:
    """What a command says in JSON."""
    ended = run_command(*words, "--json", "--data", str(peer.folder))
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def say(peer: Peer, *words: str) -> str:
    """What a command says to people."""
    ended = run_command(*words, "--data", str(peer.folder))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def test_two_who_lie_alike_are_both_caught_and_nothing_of_theirs_stays(start_peer, job):
    first, *others = make_network(start_peer, "", "", "collude:1", "collude:1")
    colluders = sorted(peer.id for peer in others[2:])
    ended = run_command(*job.write(SLOW_SQUARES, ITEMS), "--data", str(first.folder))
    assert ended.returncode == 0, ended.stderr
    assert [line["result"] for line in job.results()] == [n * n for n in ITEMS]
    report = job.report()
    assert (report["verify"], report["liars"]) == ("adaptive", colluders)
    assert not {line["worker"] for line in job.results()} & set(colluders)
    unpaid = {one["peer"]: one["credits"] for one in report["workers"] if one["peer"] in colluders}
    assert unpaid == dict.fromkeys(colluders, 0)
    assert "lies together with others on purpose (collude:1)" in say(first, "job", "show", "last")
    for peer in (first, *others):
        assert "Traceback" not in peer.log.read_text()


def test_who_was_banned_gets_no_work_until_it_is_forgotten(start_peer, job):
    first, honest, liar = make_network(start_peer, "", "lie:1")

    def workers_of_a_job() -> dict[str, dict]:
        ended = run_command(*job.write(SLOW_SQUARES, ITEMS[:40]), "--force", "--data", str(first.folder))
        assert ended.returncode == 0, ended.stderr
        assert [line["result"] for line in job.results()] == [n * n for n in ITEMS[:40]]
        return {one["peer"]: one for one in job.report()["workers"]}

    assert "worked for a job of this one yet" in say(first, "trust", "list")
    assert workers_of_a_job()[liar.id]["state"].startswith("banned")
    caught_in = job.report()["id"]
    assert set(workers_of_a_job()) == {first.id, honest.id}, "the liar got work again"

    views = {one["peer"]: one for one in ask(first, "trust", "list")}
    assert list(views) == [liar.id, honest.id], "those banned come first"
    assert views[liar.id]["offences"] == 1 and views[liar.id]["banned_for_s"] > 29 * 86400
    assert views[honest.id]["clean"] > 0 and views[honest.id]["banned_for_s"] == 0
    [entry] = ask(first, "trust", "show", liar.id[-8:])["evidence"]
    assert (entry["kind"], entry["job"]) == ("lie", caught_in)
    assert "wrong about item" in entry["text"]
    shown = say(first, "trust", "show", liar.id)
    assert "banned for 30 d" in shown and "wrong about item" in shown

    [line] = ask(first, "ledger")
    assert (line["peer"], line["earned"]) == (honest.id, 0) and line["spent"] > 0, "the liar was paid nothing"
    [theirs] = ask(honest, "ledger")
    assert (theirs["peer"], theirs["earned"], theirs["receipts"]) == (first.id, line["spent"], line["receipts"])
    assert ask(liar, "ledger") == []
    assert honest.id[-8:] in say(first, "ledger")

    assert f"{liar.id} is a stranger now" in say(first, "trust", "forget", liar.id)
    assert [one["peer"] for one in ask(first, "trust", "list")] == [honest.id]
    assert workers_of_a_job()[liar.id]["state"].startswith("banned"), "a stranger may try again, and is caught again"
