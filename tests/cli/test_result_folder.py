"""Where the files of results go: each where its line says, none over another's, those that no longer count away."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.result_files import ResultFolder
from peer.views import JobState, JobView
from protocol.files import FileRef

BLOBS = {name: f"{number:064x}" for number, name in enumerate(("one", "two", "three"), 1)}


class FakePeer:
    """Gives results, and has the blobs in a folder."""

    def __init__(self, cache: Path, runtime: str) -> None:
        cache.mkdir()
        for name, blob in BLOBS.items():
            (cache / blob).write_text(name)
        self.folder, self.runtime = cache, runtime
        self.lines: list[bytes] = []

    def give(self, *files: tuple[int, str, str]) -> None:
        self.lines = [
            json.dumps(
                {"item": item, "ok": True, "result": {"f": FileRef(name=name, blob=BLOBS[text], size_bytes=3).plain()}}
            ).encode()
            for item, name, text in files
        ]

    def job(self, _: str) -> JobView:
        return JobView(id="j", name="j", state=JobState.RUNNING, runtime=self.runtime)

    def result_lines(self, _: str) -> list[bytes]:
        return self.lines

    def cache(self) -> SimpleNamespace:
        return SimpleNamespace(folder=str(self.folder))


@pytest.fixture
def peer(tmp_path: Path) -> FakePeer:
    return FakePeer(tmp_path / "cache", "blender")


def paths(folder: ResultFolder) -> list[str]:
    return [json.loads(line)["result"]["f"]["$file"]["path"] for line in folder.complete()]


def test_frames_lie_side_by_side_and_those_of_functions_by_item(tmp_path, peer) -> None:
    peer.give((0, "0001.png", "one"), (1, "0002.png", "two"))
    out = tmp_path / "out"
    assert paths(ResultFolder(peer, "j", out)) == ["0001.png", "0002.png"]
    assert (out / "0002.png").read_text() == "two"
    peer.runtime = "python"
    assert paths(ResultFolder(peer, "j", out)) == ["files/0/0001.png", "files/1/0002.png"]


def test_no_file_is_written_over_another_or_over_ours(tmp_path, peer) -> None:
    peer.give((0, "same", "one"), (1, "same", "two"), (2, "report.json", "three"))
    out = tmp_path / "out"
    assert paths(ResultFolder(peer, "j", out)) == ["same", "files/1/same", "files/2/report.json"]
    assert (out / "same").read_text() == "one" and (out / "files/1/same").read_text() == "two"


def test_what_was_taken_back_goes_and_what_replaces_it_comes(tmp_path, peer) -> None:
    out = tmp_path / "out"
    folder = ResultFolder(peer, "j", out)
    peer.give((0, "0001.png", "one"), (1, "0002.png", "two"))
    folder.on_view(JobView(id="j", name="j", state=JobState.RUNNING, items_done=2))
    assert (out / "0001.png").read_text() == "one"
    peer.give((1, "0002.png", "three"))
    assert paths(folder) == ["0002.png"]
    assert (out / "0002.png").read_text() == "three" and not (out / "0001.png").exists()


def test_text_that_looks_like_a_file_stays_text(tmp_path, peer) -> None:
    peer.lines = [b'{"item": 0, "ok": true, "result": {"$file": "no file"}}']
    assert list(ResultFolder(peer, "j", tmp_path / "out").complete()) == peer.lines
