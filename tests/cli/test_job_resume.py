"""`peer job pause` and `peer job resume` as a person uses them, with a peer that answers from a list."""

import json

import msgspec
import pytest

from cli import main as main_module
from cli.main import main
from peer.control_client import Change
from peer.views import JobState, JobView
from protocol.errors import LocalError

JOB = "0123456789abcdef"


def view(state: JobState, **more: object) -> JobView:
    return msgspec.convert({"id": JOB, "name": "squares", "state": state, "items": 4, **more}, JobView)


class FakeClient:
    """One job, and how it is at its end."""

    def __init__(self, now: JobView, after: JobView) -> None:
        self.now, self.after = now, after

    def pause(self, job: str) -> JobView:
        return msgspec.structs.replace(self.now, state=JobState.PAUSED)

    def resume(self, job: str) -> JobView:
        if not self.now.state.can_go_on:
            raise LocalError(f"job {job} is {self.now.state}: `peer job retry`")
        return msgspec.structs.replace(self.now, state=JobState.CALLING)

    def wait_change(self, job: str, version: int) -> Change:
        return Change(version + 1, self.after)


@pytest.fixture
def peer(monkeypatch, capsys):
    """`peer(now, after, *words)`: exit code, standard output, standard error of `peer job ...`."""

    def peer(now: JobView, after: JobView, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(main_module, "_client", lambda _: FakeClient(now, after))
        with pytest.raises(SystemExit) as ended:
            main(["job", *words])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return peer


PAUSED = view(JobState.PAUSED, items_done=1)
DONE = view(JobState.DONE, items_done=4, resumes=1)


def test_a_pause_says_what_is_kept_and_how_to_go_on(peer):
    ended, _, err = peer(view(JobState.RUNNING, items_done=1), PAUSED, "pause", "last")
    assert ended == 0 and "squares (0123456789ab) is paused, 1 of 4 items are done and kept" in err
    assert "`peer job resume 0123456789ab` goes on" in err


@pytest.mark.parametrize(("after", "code"), [(DONE, 0), (view(JobState.CANCELLED, items_done=2), 130), (PAUSED, 1)])
def test_a_resumed_job_is_followed_to_its_end_and_the_exit_code_says_how(peer, after, code):
    ended, out, err = peer(PAUSED, after, "resume", "last")
    assert (ended, f"squares: {after.state}" in out) == (code, True)
    assert "`peer job results 0123456789ab --out DIR`" in err
    assert ("resumed" in out) == bool(after.resumes)


def test_it_can_be_left_running(peer):
    ended, out, err = peer(PAUSED, DONE, "resume", "last", "--detach")
    assert (ended, out) == (0, "") and "goes on: `peer job show 0123456789ab`" in err


def test_programs_get_the_job(peer):
    for words, state in ((("pause",), "paused"), (("resume",), "done"), (("resume", "--detach"), "calling")):
        ended, out, _ = peer(PAUSED, DONE, *words, "last", "--json")
        assert (ended, json.loads(out)["state"]) == (0, state)


def test_what_has_ended_is_not_resumed(peer):
    ended, out, err = peer(DONE, DONE, "resume", "last")
    assert (ended, out, err.count("\n")) == (2, "", 1) and "is done: `peer job retry`" in err
