"""What runtimes bring and what items have as files is found in every tier, at its place or by its variable."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from execution_helpers import manifest, outcomes, run_all

from peer.execution.executor import SandboxedExecutor
from peer.execution.interpreter import Inside, python_inside
from peer.execution.landlock_launch import LandlockLauncher
from peer.runtimes.base import Probe
from peer.runtimes.command import CommandRuntime
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.files import FileRef


@dataclass
class Strange:
    """Python with a file that is to appear elsewhere, named by a variable."""

    file: Path
    in_place: bool = True
    name: str = "strange"
    compare: str = "exact"

    def probe(self) -> Probe:
        return Probe(versions={"strange": "1"})

    def environment(self, runtime: str) -> bytes:
        return bytes(32)

    def inside(self, manifest: Manifest) -> Inside:
        known = python_inside()
        at = Path("/opt/strange/file")
        return replace(known, binds=((self.file, at),), environment=(("STRANGE", str(at)), ("PLAIN", "word")))


@pytest.fixture
def folder() -> Iterator[Path]:
    """That every user may look into."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_a_runtime_finds_its_files_by_its_variables(any_sandbox, folder):
    (folder / "file").write_text("hello")
    executor = SandboxedExecutor([Strange(folder / "file")], launcher=any_sandbox.launcher())
    assert [offer.name for offer in executor.offers()] == ["strange"]
    code = "import os\ndef run(item):\n    return [open(os.environ['STRANGE']).read(), os.environ['PLAIN']]"
    assert await run_all(executor, code, runtime="strange") == [["hello", "word"]]


async def test_a_runtime_with_fixed_places_is_offered_where_they_can_be_shown(any_sandbox, folder):
    launcher = any_sandbox.launcher()
    executor = SandboxedExecutor([Strange(folder, in_place=False)], launcher=launcher)
    if not isinstance(launcher, LandlockLauncher):
        assert executor.offers()
        return
    assert executor.offers() == ()
    with pytest.raises(
        LocalError, match="the runtime 'strange' is not offered here: it needs bubblewrap, not landlock"
    ):
        async with executor.open_runner(manifest("", runtime="strange")):
            raise AssertionError("no runner may be opened")


class Inputs:
    """Gives each item's file the same content, in a folder that every user may look into."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir(mode=0o755)

    def folder(self) -> AbstractContextManager[Path]:
        return nullcontext(self._place)

    async def place(self, file: FileRef, manifest: Manifest, at: Path) -> None:
        await trio.Path(at).write_bytes(b"hello")


async def test_files_of_items_are_found_and_programs_get_them(any_sandbox, tier, folder):
    """Or it is said that they cannot be shown: a job must not fail for what its worker lacks."""
    files = [FileRef(name="in put", blob="00" * 32, size_bytes=5).plain()]
    executor = SandboxedExecutor(launcher=any_sandbox.launcher())
    executor.blobs = Inputs(folder / "one")
    async with executor.open_runner(manifest("def run(item):\n    return item[0].read_text()")) as runner:
        if not executor.launcher().shows_files:
            assert (tier, os.geteuid()) == ("landlock", 0)
            with pytest.raises(LocalError, match="which the sandbox of this machine cannot show"):
                await runner.run(encoding.encode([files]))
            return
        for _ in range(2):
            assert outcomes(await runner.run(encoding.encode([files])), 1)[0].value == "hello"
    executor = SandboxedExecutor([CommandRuntime(("wc",))], launcher=any_sandbox.launcher())
    executor.blobs = Inputs(folder / "other")
    job = manifest('{"argv": ["wc", "-c", "{input}"]}', runtime="command:wc")
    async with executor.open_runner(job) as runner:
        result = await runner.run(encoding.encode([{"input": files[0]}]))
    assert outcomes(result, 1)[0].value.startswith("5 ")
