"""How much a job may write: walled off in the first tier; in the second looked at and counted, so it comes late."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import trio
from execution_helpers import MIB, manifest, no_folder_is_left, outcomes
from sandbox_tiers import TIERS

from peer.execution import work_folder
from peer.seam import Execution, ExecutionFailure
from protocol import encoding

FILL = """
    import os, tempfile, time
    held = []
    def run(item):
        for number in range(item):
            held.append(tempfile.TemporaryFile() if {hidden} else open(f"{{tempfile.gettempdir()}}/{{number}}", "wb"))
            for _ in range(50):
                held[-1].write(bytes(1_000_000))
            held[-1].flush()
        time.sleep(0.2)
"""


@pytest.mark.parametrize("hidden", [False, True], ids=["files", "deleted files"])
async def test_disk_cannot_be_filled(any_sandbox, tier, hidden):
    """A file system of limited size in the first tier; in the second, what is there is looked at, and it comes late."""
    free_bytes = psutil.disk_usage(tempfile.gettempdir()).free
    async with any_sandbox.open_runner(manifest(FILL.format(hidden=hidden))) as runner:
        result = await runner.run(encoding.encode([20]))
        if tier == "bubblewrap":
            [bad] = outcomes(result, 1)
            assert (bad.ok, bad.error) == (False, "OSError")
        else:
            assert isinstance(result, ExecutionFailure)
            assert "MiB of files; the sandbox allows 256 MiB" in result.detail
        assert outcomes(await runner.run(encoding.encode([0])), 1)[0].ok
    assert free_bytes - psutil.disk_usage(tempfile.gettempdir()).free < 500 * MIB, "nothing stays on the disk"


async def test_short_chunks_cannot_fill_the_disk_together(any_sandbox, tier):
    if tier == "bubblewrap":
        pytest.skip("its file system is of limited size")
    code = """
        import tempfile
        held = []
        def run(item):
            held.append(tempfile.TemporaryFile())
            held[-1].write(bytes(10_000_000))
            return len(held)
    """
    async with any_sandbox.open_runner(manifest(code)) as runner:
        results = [await runner.run(encoding.encode([n])) for n in range(120)]
    # Some chunk may take long enough to be ended for it; between chunks the runner is started again.
    counts = [outcomes(one, 1)[0].value for one in results if isinstance(one, Execution)]
    assert max(counts) < 100, "no runner came to hold 1 GB"


@pytest.mark.parametrize(
    "hide",
    [
        "[os.mkdir(str(n)) for n in range(300)]",
        "[(os.mkdir('d'), os.chdir('d')) for _ in range(300)]",
        "os.mkdir('shut', 0)",
    ],
    ids=["many", "deep", "shut"],
)
async def test_folders_that_cannot_be_counted_end_the_chunk(any_sandbox, tier, hide, monkeypatch):
    """And they go with it, whatever was done to them; `shut` is open to a peer that is root."""
    monkeypatch.setattr(work_folder, "FOLDER_ENTRIES_MAX", 200)
    monkeypatch.setattr(work_folder, "FOLDER_PATH_LENGTH_MAX", 300)
    if tier == "bubblewrap":
        pytest.skip("its file system is of limited size, and goes with it")
    code = f"""
        import os, tempfile, time
        def run(item):
            os.chdir(tempfile.gettempdir())
            if item:
                {hide}
                time.sleep(0.3)
    """
    async with any_sandbox.open_runner(manifest(code)) as runner:
        result = await runner.run(encoding.encode([1]))
        if "shut" not in hide or os.geteuid() != 0:
            assert isinstance(result, ExecutionFailure)
        assert outcomes(await runner.run(encoding.encode([0])), 1)[0].ok
    await no_folder_is_left(any_sandbox)


@pytest.fixture
def place(launchers, monkeypatch) -> Iterator[Path]:
    """The place for temporary files while this lasts, open to all users."""
    if isinstance(launchers["landlock of a user"], str):
        pytest.skip(launchers["landlock of a user"])
    with tempfile.TemporaryDirectory() as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        Path(name).chmod(0o711)
        yield Path(name)
        monkeypatch.undo()


async def test_folders_of_killed_peers_are_removed_and_no_others(place):
    abandoned, strange = place / "parallel-peer-1", place / "parallel-peer-2"
    (abandoned / "job-1" / "deep").mkdir(parents=True)
    (abandoned / "in-use").touch()
    strange.mkdir()
    living = TIERS["landlock of a user"]()
    another = TIERS["landlock of a user"]()
    kept = {one.place for one in (living, another)}
    with trio.fail_after(10):
        while set(place.iterdir()) != {strange, *kept}:  # noqa: ASYNC110
            await trio.sleep(0.02)
    del living, another
    assert set(place.iterdir()) == {strange}, "what is not used any more goes at once"
