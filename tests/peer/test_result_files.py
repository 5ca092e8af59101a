"""Files of results on their way: a worker that lies about them costs itself a chunk, and never the job."""

import pytest
import trio
from blob_helpers import content, described
from blob_town import Holder, town

from peer.job_blobs import JobBlobs
from peer.result_files import ResultFiles
from protocol import encoding
from protocol.errors import LocalError
from protocol.files import FileRef
from protocol.ids import ChunkId
from protocol.limits import MIB

DATA = content(MIB + 3)
BLOB = described(DATA)[0].id


@pytest.mark.parametrize(
    ("file", "story"),
    [
        (FileRef(name="a", blob=BLOB, size_bytes=len(DATA)), ""),
        (FileRef(name="a", blob=BLOB, size_bytes=5), "more than was said"),
        (FileRef(name="a", blob=BLOB, size_bytes=len(DATA) + 1), "was said to have"),
        (FileRef(name="a", blob="00" * 32, size_bytes=5), "cannot be fetched"),
    ],
)
async def test_who_names_a_wrong_file_has_not_given_its_result(tmp_path, autojump_clock, file, story) -> None:
    failed: list[LocalError] = []
    told: list[str] = []
    async with town(tmp_path) as t:
        t.holder("worker", Holder(DATA))
        blobs = await t.peer("coordinator")
        files = ResultFiles(JobBlobs(blobs), failed.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(files.run)
            done = trio.Event()

            def then(problem: str) -> None:
                told.append(problem)
                done.set()

            files.fetch(t.id("worker"), [file], then)
            await done.wait()
            nursery.cancel_scope.cancel()
        assert failed == [] and len(told) == 1
        assert (told[0] == "") if not story else (story in told[0])
        held = blobs.store.find(BLOB)
        assert (held is not None and held.pinned) == (not story)


async def test_files_that_nothing_names_in_the_end_may_go(tmp_path, autojump_clock) -> None:
    file = FileRef(name="a", blob=BLOB, size_bytes=len(DATA))
    async with town(tmp_path) as t:
        t.holder("worker", Holder(DATA))
        blobs = await t.peer("coordinator")
        shelf = JobBlobs(blobs)
        for counts in (True, False):
            files = ResultFiles(shelf, lambda error: None)
            assert await shelf.fetch_file(file, t.id("worker"))
            shelf.release_file(file)
            data = encoding.encode([[True, file.plain()]])
            files.hold(data)
            files.settle(ChunkId(1), data)
            if not counts:
                files.revoke(ChunkId(1))
            files.close()
            assert blobs.store.find(BLOB).pinned == counts
            shelf.release_file(file)
