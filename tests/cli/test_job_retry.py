"""`peer job retry` as a person uses it, with a peer that answers from a list."""

import json

import msgspec
import pytest

from cli import main as main_module
from cli.main import main
from peer.control_client import Change
from peer.views import JobState, JobView, Retried
from protocol.errors import LocalError

JOB = "0123456789abcdef"


def view(state: JobState = JobState.DONE, **more: object) -> JobView:
    return msgspec.convert({"id": JOB, "name": "squares", "state": state, "items": 4, **more}, JobView)


class FakeClient:
    """One job: as it was, what a retry begins, what comes of it."""

    def __init__(self, before: JobView, items: int, after: JobView) -> None:
        self.before, self.items, self.after = before, items, after

    def job(self, job: str) -> JobView:
        if job != "last":
            raise LocalError(f"no job {job!r} here")
        return self.before

    def retry(self, job: str) -> Retried:
        if not self.before.state.is_final:
            raise LocalError(f"job {job} still runs")
        return Retried(self.items, msgspec.structs.replace(self.before, state=JobState.CALLING))

    def wait_change(self, job: str, version: int) -> Change:
        return Change(version + 1, self.after)


@pytest.fixture
def retry(monkeypatch, capsys):
    """`retry(before, items, after, *words)`: exit code, standard output, standard error."""

    def retry(before: JobView, items: int, after: JobView, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(main_module, "_client", lambda _: FakeClient(before, items, after))
        with pytest.raises(SystemExit) as ended:
            main(["job", "retry", *(words or ("last",))])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return retry


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (view(items_done=4), 0),
        (view(items_done=3, items_failed=1), 1),
        (view(JobState.CANCELLED, items_done=2), 130),
        (view(JobState.FAILED, items_done=2, message="no worker took the job"), 3),
        (view(JobState.FAILED, items_done=3), 1),
    ],
)
def test_it_is_followed_to_its_end_and_the_exit_code_says_how(retry, after, code):
    ended, out, _ = retry(view(items_done=2, doubtful=1), 2, after)
    assert ended == code
    assert f"squares: {after.state}" in out and f"{after.items_done} of 4 done" in out


def test_where_all_results_stand_nothing_happens(retry):
    ended, out, err = retry(view(items_done=4), 0, view())
    assert (ended, out) == (0, "")
    assert "squares (0123456789ab): nothing to do again, all 4 results stand" in err


def test_programs_get_the_number_of_items_and_the_job(retry):
    ended, out, _ = retry(view(items_done=2), 2, view(items_done=4, retries=1), "last", "--json")
    answer = json.loads(out)
    assert (ended, answer["retried"], answer["job"]["retries"]) == (0, 2, 1)
    ended, out, _ = retry(view(items_done=4), 0, view(), "last", "--json")
    assert (ended, json.loads(out)["retried"]) == (0, 0)


def test_what_cannot_be_retried_ends_with_2_and_nothing_is_started(retry):
    for before, word, complaint in (
        (view(JobState.RUNNING), "last", "still runs"),
        (view(), "nobody", "no job 'nobody' here"),
    ):
        ended, out, err = retry(before, 1, view(), word)
        assert (ended, out, err.count("\n")) == (2, "", 1)
        assert complaint in err
