"""Files of items in the sandbox, and files of results out of it: what may be read, what is kept, what is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from blob_helpers import content, described
from blob_town import Holder, town
from execution_helpers import manifest

from peer.blobs import Blobs
from peer.execution.executor import SandboxedExecutor
from peer.job_blobs import JobBlobs
from peer.seam import Execution, ExecutionFailure, Runner
from protocol import encoding
from protocol.blobs import BlobId
from protocol.errors import LocalError
from protocol.files import FileRef
from protocol.limits import KIB, MIB
from protocol.messages.job import FailureKind
from protocol.outcomes import decode_outcomes

DATA = content(MIB + 3)


@asynccontextmanager
async def running(tmp_path: Path, code: str, **fields: object) -> AsyncIterator[tuple[Runner, Blobs, FileRef]]:
    """A runner of a peer that has blobs, and a file that another peer has."""
    with trio.fail_after(60):
        async with town(tmp_path) as t:
            t.holder("coordinator", Holder(DATA))
            worker = await t.peer("worker")
            executor = SandboxedExecutor()
            executor.blobs = JobBlobs(worker)
            file = FileRef(name="in put.bin", blob=described(DATA)[0].id, size_bytes=len(DATA))
            async with executor.open_runner(manifest(code, blob_holder=t.id("coordinator"), **fields)) as runner:
                yield runner, worker, file


def value_of(ran: Execution | ExecutionFailure) -> object:
    assert isinstance(ran, Execution), ran
    [outcome] = decode_outcomes(ran.data, 1)
    assert outcome.ok, outcome
    return outcome.value


COPY = """
from pathlib import Path
def run(item):
    path = item["file"]
    out = Path("/tmp/copy.bin")
    out.write_bytes(path.read_bytes()[::-1])
    refused = 0
    for attempt in (lambda: path.write_bytes(b""), path.unlink, lambda: Path("/inputs/new").write_bytes(b"")):
        try:
            attempt()
        except OSError:
            refused += 1
    return {"out": out, "seen": str(path), "refused": refused}
"""


async def test_a_file_goes_in_and_one_comes_out(tmp_path) -> None:
    async with running(tmp_path, COPY) as (runner, worker, file):
        for _ in range(2):  # the second chunk finds its own files alone
            value = value_of(await runner.run(encoding.encode([{"file": file.plain()}])))
            assert value["seen"] == "/inputs/0/in put.bin" and value["refused"] == 3
            given = value["out"]["$file"]
            assert (given["name"], given["size_bytes"]) == ("copy.bin", len(DATA))
            kept = worker.store.find(BlobId(given["blob"]))
            assert kept is not None and kept.whole and not kept.pinned
            assert kept.path.read_bytes() == DATA[::-1]
        assert value_of(await runner.run(encoding.encode([{"file": file.plain()}])))
    assert list(worker.store.inputs.iterdir()) == []


async def test_a_chunk_without_files_finds_none_of_the_last_one(tmp_path) -> None:
    code = "import os\ndef run(item):\n    return sorted(os.listdir('/inputs'))\n"
    async with running(tmp_path, code) as (runner, _, file):
        assert value_of(await runner.run(encoding.encode([[file.plain(), file.plain()]]))) == ["0", "1"]
        assert value_of(await runner.run(encoding.encode([1]))) == []


async def test_a_file_that_nobody_has_is_an_error_of_the_machine(tmp_path, autojump_clock) -> None:
    lost = FileRef(name="lost", blob="00" * 32, size_bytes=3)
    async with town(tmp_path) as t:
        t.holder("coordinator", Holder(DATA))
        files = JobBlobs(await t.peer("worker"))
        with files.folder() as folder, pytest.raises(LocalError, match="the file lost cannot be had on this machine"):
            await files.place(lost, manifest("", blob_holder=t.id("coordinator")), folder / "lost")


@pytest.mark.parametrize(
    ("returned", "story"),
    [
        ("Path('/tmp')", "no regular file"),
        ("Path('/dev/zero')", "no regular file"),
        ("Path('/tmp/missing')", "No such file"),
        ("Path('/etc/shadow')", "No such file"),
        ("fifo()", "no regular file"),
    ],
)
async def test_what_is_no_file_is_the_items_error(tmp_path, returned: str, story: str) -> None:
    code = f"""
import os
from pathlib import Path
def fifo():
    os.path.exists("/tmp/fifo") or os.mkfifo("/tmp/fifo")
    return Path("/tmp/fifo")
def run(item):
    return {returned}
"""
    async with running(tmp_path, code) as (runner, _, _):
        ran = await runner.run(encoding.encode([0]))
        assert isinstance(ran, Execution), ran
        [outcome] = decode_outcomes(ran.data, 1)
        assert not outcome.ok and story in outcome.message, outcome


@pytest.mark.parametrize("place", ["/proc/self/status", "/proc/keys", "/proc/self/environ"])
async def test_nothing_of_the_kernel_comes_out_as_a_file(tmp_path, place: str) -> None:
    """Such files have no size, and are evaluated by who reads them: here that would be the peer."""
    code = f"from pathlib import Path\ndef run(item):\n    return Path({place!r})\n"
    async with running(tmp_path, code) as (runner, _, _):
        ran = await runner.run(encoding.encode([0]))
        assert isinstance(ran, Execution), ran
        [outcome] = decode_outcomes(ran.data, 1)
        assert not outcome.ok or outcome.value["$file"]["size_bytes"] == 0


async def test_a_link_means_what_it_means_inside(tmp_path) -> None:
    code = """
import os
from pathlib import Path
def run(item):
    os.path.islink("/tmp/link") or os.symlink("/etc/passwd", "/tmp/link")
    return Path("/tmp/link")
"""
    async with running(tmp_path, code) as (runner, worker, _):
        given = value_of(await runner.run(encoding.encode([0])))["$file"]
        kept = worker.store.find(BlobId(given["blob"]))
        assert kept is not None and kept.path.read_text().startswith("sandbox:x:")


FORGERIES = {
    "a file that was not given": 'return {"$file": {"name": "x", "blob": "00" * 32, "size_bytes": 1}}',
    "a file of the wrong form": 'return {"$file": 5}',
    "a message without a file": 'send(b"\\x82\\x64file\\x61x"); return 1',
}


@pytest.mark.parametrize("what", FORGERIES)
async def test_forged_files_are_the_jobs_failure(tmp_path, what: str) -> None:
    code = f"""
import os
def send(payload):
    for fd in range(3, 256):
        try:
            os.write(fd, bytes([len(payload)]) + payload)
        except OSError:
            pass
def run(item):
    {FORGERIES[what]}
"""
    async with running(tmp_path, code) as (runner, _, _):
        ran = await runner.run(encoding.encode([0]))
        assert isinstance(ran, ExecutionFailure) and ran.kind is FailureKind.CRASHED, ran
        assert "file" in ran.detail


async def test_names_are_what_files_may_be_called(tmp_path) -> None:
    code = """
from pathlib import Path
def run(item):
    path = Path("/tmp") / ("n" * 200)
    path.write_bytes(b"x")
    return path
"""
    async with running(tmp_path, code) as (runner, _, _):
        ran = await runner.run(encoding.encode([0]))
        assert isinstance(ran, Execution), ran
        [outcome] = decode_outcomes(ran.data, 1)
        assert not outcome.ok and "name" in outcome.message


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_descriptors_that_nobody_asked_for_are_closed(tmp_path) -> None:
    """A sandbox that sends thousands of open files cannot use up those of the peer."""
    code = """
import os, socket
def run(item):
    for fd in range(3, 256):
        try:
            with socket.socket(fileno=os.dup(fd)) as channel:
                for _ in range(50):
                    socket.send_fds(channel, [b"\\x01\\x00"], [0] * 4)
        except OSError:
            pass
    return 1
"""
    before = open_files()
    async with running(tmp_path, code) as (runner, _, _):
        ran = await runner.run(encoding.encode([0]))
        assert isinstance(ran, ExecutionFailure), ran
        assert open_files() < before + 40
    assert open_files() <= before + 2


async def test_without_blobs_files_are_refused(sandbox: SandboxedExecutor) -> None:
    file = FileRef(name="a", blob="00" * 32, size_bytes=1)
    async with sandbox.open_runner(
        manifest("from pathlib import Path\ndef run(i):\n    return Path('/etc/passwd')")
    ) as r:
        with pytest.raises(LocalError, match="only a running peer can fetch"):
            await r.run(encoding.encode([file.plain()]))
        ran = await r.run(encoding.encode([KIB]))
        assert isinstance(ran, Execution) and b"only a running peer keeps files" in ran.data
