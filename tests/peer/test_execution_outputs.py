"""Tricks with files of results, in every tier: no path, link or open file of a job makes the peer give away its own."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from blob_town import town
from execution_helpers import manifest, outcomes
from sandbox_tiers import ORDINARY_USER

from peer.job_blobs import JobBlobs
from peer.seam import Execution
from protocol import encoding

SECRET = b"swordfish" * 100


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of the user as whom the second tier's runners work, where all can go but none else may read."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "id_ed25519"
        file.write_bytes(SECRET)
        file.chmod(0o600)
        Path(name).chmod(0o755)
        if os.geteuid() == 0:
            os.chown(file, ORDINARY_USER, ORDINARY_USER)
        yield file


@pytest.mark.parametrize(
    "returned",
    [
        "Path(secret)",
        "Path(tempfile.gettempdir() + '/../..' + secret)",
        "linked(os.symlink)",
        "linked(os.link)",
        "folder_linked()",
        "Path(f'/proc/self/fd/{os.open(secret, os.O_PATH)}')",
        "handed_out(os.open(secret, os.O_PATH), 'x')",
        "handed_out(os.open(secret, os.O_PATH), '../../x')",
        "handed_out(os.open(os.path.dirname(secret), os.O_PATH), 'x')",
        "handed_out(os.open(tempfile.gettempdir(), os.O_RDONLY), 'x')",
        "handed_out(os.pipe()[0], 'x')",
        "handed_out(0, 'x')",
    ],
)
async def test_files_of_the_peer_do_not_come_out(any_sandbox, tmp_path, secret, returned):
    code = f"""
        import os, socket, tempfile
        from pathlib import Path
        def linked(link):
            link(secret, tempfile.gettempdir() + "/link")
            return Path(tempfile.gettempdir() + "/link")
        def folder_linked():
            os.symlink(os.path.dirname(secret), tempfile.gettempdir() + "/folder")
            return Path(tempfile.gettempdir() + "/folder/" + os.path.basename(secret))
        def handed_out(fd, name):
            message = b"\\x82\\x64file" + bytes([0x60 + len(name)]) + name.encode()
            for channel in range(3, 256):
                try:
                    with socket.socket(fileno=os.dup(channel)) as one:
                        socket.send_fds(one, [bytes([len(message)]) + message], [fd])
                        return one.recv(4096)
                except OSError:
                    pass
        def run(item):
            global secret
            secret = item
            return {returned} if item else 7
    """
    with trio.fail_after(60):
        async with town(tmp_path) as t:
            worker = await t.peer("worker")
            any_sandbox.blobs = JobBlobs(worker)
            async with any_sandbox.open_runner(manifest(code)) as runner:
                result = await runner.run(encoding.encode([str(secret)]))
                # What was handed out unasked has been answered, with a refusal.
                if isinstance(result, Execution):
                    [outcome] = outcomes(result, 1)
                    assert not outcome.ok or ("handed_out" in returned and b"$file" not in outcome.value)
                assert outcomes(await runner.run(encoding.encode([""])), 1)[0].value == 7
            kept = [path for path in worker.store.folder.rglob("*") if path.is_file()]
            assert not any(SECRET[:9] in path.read_bytes() for path in kept)
