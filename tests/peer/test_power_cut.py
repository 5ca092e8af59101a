"""A machine that loses power: what `peer/journal.py` promises, tried on every disk that SQLite's writes can leave."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from power_cut import Story, disk_after, story_of, why_no_power_cuts

from peer.journal import Journal
from peer.trust_book import TrustBook
from protocol.ids import JobId

pytestmark = pytest.mark.skipif(bool(why_no_power_cuts()), reason=why_no_power_cuts() or "-")
JOB = JobId("job")

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from receipts import receipt
from test_power_cut import state_of
from peer.journal import Journal
from peer.trust_book import TrustBook
from peer.views import JobRequest, JobState, JobView, ResultLine

folder = Path({folder!r})
journal = Journal.open(folder / "journal.sqlite")
book = TrustBook(journal, lambda: 1e9)
marks = os.open(folder / "mark", os.O_WRONLY | os.O_CREAT)
view = JobView(id="job", name="j", state=JobState.RUNNING, items=9999)


def mark(durable=False):
    os.write(marks, json.dumps([durable, state_of(journal)]).encode())


mark(True)
journal.add_job(view, JobRequest(name="j", code="", items=[]))
mark(True)
for n in range({rounds}):
    journal.record_results("job", [ResultLine(item=2 * n + k, ok=True, result="x" * 3000, worker=f"w{{n % 5}}",
                                              checked=False) for k in range(2)])
    mark()
    journal.confirm_results("job", [2 * n])
    mark()
    if n % 16 == 7:
        book.caught(f"w{{n % 5}}", "job", "wrong")
        mark(True)
    if n % 16 == 15:
        with journal.transaction():
            journal.save_job(view)
            journal.save_owed("job", [])
        mark()
journal.add_receipt(b"r1", receipt(1, 1.0), given=True, peer="w1")
mark()
journal.add_receipt(b"r2", receipt(2, 1.0), given=True, peer="w2")
mark()
with journal.transaction(durable=True):
    journal.save_job(JobView(id="job", name="j", state=JobState.DONE, items=9999))
    journal.forget_owed("job")
mark(True)
journal.record_results("job", [ResultLine(item=9999, ok=True, result=0, worker="w9")])
mark()
os.kill(os.getpid(), signal.SIGKILL)
"""


def state_of(journal: Journal) -> list[object]:
    """All that later lives see, in short."""
    outcomes = sorted(journal.outcomes(JOB))
    rows = journal.read("SELECT COALESCE(SUM(checked), 0), COALESCE(SUM(doubtful), 0) FROM results")
    banned = sorted(TrustBook(journal, lambda: 1e9).banned())
    jobs = [str(view.state) for view in journal.jobs()]
    return [len(outcomes), sum(outcomes), list(rows[0]), banned, jobs, journal.credits()["spent"]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """About 1,500 pages of log, so that it is moved into the file and begun anew."""
    folder = tmp_path_factory.mktemp("story")
    script = SCRIPT.format(here=str(Path(__file__).parent), folder=str(folder), rounds=160)
    return story_of(script, folder)


def found_after(story: Story, steps: int, folder: Path, random: Random, share: float) -> object:
    path = disk_after(story, steps, folder, random, share)
    with closing(Journal.open(path)) as journal:
        (whole,) = journal.read("PRAGMA integrity_check")
        assert whole == ("ok",), "the file is not whole"
        found = json.loads(json.dumps(state_of(journal)))
    shutil.rmtree(folder)
    return found


def check(story: Story, steps: int, found: object) -> int:
    """Which transaction is the last that is left: one that had begun, and none before the last durable one."""
    done = [number for number, (at, _) in enumerate(story.marks) if at <= steps]
    durable = [number for number in done if story.marks[number][1][0]]
    left = [number for number, (_, (_, state)) in enumerate(story.marks) if state == found]
    assert left, f"after {steps} steps: a state that never was: {found}"
    assert not durable or left[-1] >= durable[-1], f"after {steps} steps: what was durable is lost"
    assert left[0] <= len(done), f"after {steps} steps: a state of the future"
    return left[0]


def test_the_story_has_what_matters(story: Story) -> None:
    syncs = [sum(step.what == "s" and step.file == file for step in story.steps) for file in (0, 1)]
    assert syncs[0] >= 1, "the log was never moved into the file"
    flushed = sum(durable for _, (durable, _) in story.marks)
    assert flushed <= syncs[1] < len(story.marks) / 3, "a flush for each transaction, or not even for the durable ones"


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_a_power_cut_at_any_moment_leaves_a_prefix_with_all_that_is_durable(
    story: Story, tmp_path: Path, share: float
) -> None:
    random = Random(f"cut/{share}")
    first = story.marks[0][0]
    cuts = sorted({*random.sample(range(first, len(story.steps) + 1), 120), len(story.steps)})
    kept = [check(story, cut, found_after(story, cut, tmp_path / str(cut), random, share)) for cut in cuts]
    if share in (0.0, 1.0):
        assert kept == sorted(kept), "a later cut left less"
    assert kept[-1] >= len(story.marks) - (2 if share < 1.0 else 1)


def test_what_is_promised_would_be_missed(story: Story) -> None:
    """As where the end of the job was not flushed, or a transaction torn."""
    end = len(story.steps)
    before_the_end = story.marks[-4][1][1]
    with pytest.raises(AssertionError, match="what was durable is lost"):
        check(story, end, before_the_end)
    with pytest.raises(AssertionError, match="a state that never was"):
        check(story, end, [*before_the_end[:-1], -1.0])
    with pytest.raises(AssertionError, match="a state of the future"):
        check(story, story.marks[1][0], story.marks[9][1][1])
