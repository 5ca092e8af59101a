"""Blobs of jobs where code runs: fetched before, read-only inside, kept while in use, refused with the reason."""

from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
import trio
from blob_helpers import content, described, file_with
from blob_town import Holder, town
from execution_helpers import manifest

from peer.execution.executor import SandboxedExecutor
from peer.job_blobs import JobBlobs
from peer.job_setup import manifest_of
from peer.seam import Execution
from peer.views import BlobUse, JobRequest
from protocol import encoding
from protocol.blobs import blob_digest
from protocol.bodies import JobBlob, Manifest
from protocol.errors import LocalError
from protocol.ids import JobId, PeerId
from protocol.limits import BLOBS_PER_JOB_MAX, MIB

DATA = content(MIB + 3)
BLOB = JobBlob(name="w", blob=blob_digest(described(DATA)[0].id), size_bytes=len(DATA))


def reading(*blobs: JobBlob, holder: str = "") -> Manifest:
    return Manifest(job=JobId("j"), runtime="python", code=b"", blobs=blobs, blob_holder=PeerId(holder))


async def test_blobs_come_from_the_coordinator_and_stay_while_the_job_runs(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("coordinator", Holder(DATA))
        worker = await t.peer("worker")
        async with JobBlobs(worker).open(reading(BLOB, holder=t.id("coordinator"))) as files:
            assert {name: path.read_bytes() for name, path in files.items()} == {"w": DATA}
            assert worker.store.prune(everything=True) == []
        assert len(worker.store.prune(everything=True)) == 1


@pytest.mark.parametrize(
    ("blob", "options", "story"),
    [
        (msgspec.structs.replace(BLOB, blob=bytes(32)), {}, "cannot be had now"),
        (msgspec.structs.replace(BLOB, size_bytes=5), {}, "more than was said"),
        (BLOB, {"bytes_max": MIB}, "the cache has 1 MiB"),
    ],
)
async def test_what_cannot_be_had_or_kept_is_said(tmp_path, autojump_clock, blob, options, story) -> None:
    async with town(tmp_path) as t:
        t.holder("coordinator", Holder(DATA))
        worker = await t.peer("worker", **options)
        with pytest.raises(LocalError, match=story) as caught:
            async with JobBlobs(worker).open(reading(blob, holder=t.id("coordinator"))):
                raise AssertionError("opened")
        assert (
            "the job's blob w cannot be had on this machine" in str(caught.value) and worker.store.size_bytes < MIB * 3
        )


CODE = """
import os

def run(item):
    path = os.environ["PEER_BLOB_w"]
    assert path == "/blobs/w" and os.listdir("/blobs") == ["w"]
    found = []
    for attempt in (lambda: open(path, "wb"), lambda: os.unlink(path), lambda: open("/blobs/new", "w")):
        try:
            attempt()
        except OSError as error:
            found.append(type(error).__name__)
    return [open(path, "rb").read(), len(found)]
"""


async def test_code_reads_its_blob_and_cannot_change_it(tmp_path, sandbox: SandboxedExecutor) -> None:
    path = file_with(tmp_path, b"weights")
    path.chmod(0o444)

    class Fixed:
        def open(self, manifest: Manifest):
            return opened(path)

        def folder(self):
            return nullcontext()

    executor = SandboxedExecutor()
    wanted = msgspec.structs.replace(manifest(CODE), blobs=(BLOB,))
    with pytest.raises(LocalError, match="start one with `peer start`"):
        async with executor.open_runner(wanted):
            raise AssertionError("opened")
    executor.blobs = Fixed()
    with trio.fail_after(60):
        async with executor.open_runner(wanted) as runner:
            ran = await runner.run(encoding.encode([1]))
    assert isinstance(ran, Execution), ran
    assert encoding.decode(ran.data) == [[True, [b"weights", 3]]] and path.read_bytes() == b"weights"


def opened(path: Path):
    return nullcontext({"w": path})


def test_the_manifest_names_the_blobs_and_who_has_them() -> None:
    use = BlobUse(name="w", id=described(DATA)[0].id, size_bytes=len(DATA))
    request = JobRequest(name="n", code="", items=[1], blobs=[use])
    made = manifest_of(JobId("j"), request, PeerId("me"))
    assert made.blobs == (BLOB,) and made.blob_holder == "me"
    plain = manifest_of(JobId("j"), msgspec.structs.replace(request, blobs=[]), PeerId("me"))
    assert plain.blobs == () and plain.blob_holder == "me"
    for wrong in ([msgspec.structs.replace(use, id="x")], [use] * (BLOBS_PER_JOB_MAX + 1)):
        with pytest.raises(LocalError, match="blob"):
            manifest_of(JobId("j"), msgspec.structs.replace(request, blobs=wrong), PeerId("me"))


@pytest.mark.parametrize("name", ["", "a/b", "..", "1a", "a" * 65, "a\n"])
def test_names_that_are_no_names_are_refused(name) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(BlobUse(name=name, id="x", size_bytes=0)), type=BlobUse)
