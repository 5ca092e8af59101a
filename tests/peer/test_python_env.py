"""Packages of jobs: installed once for each list, in the sandbox read-only, refused with the reason."""

import hashlib
from pathlib import Path

import msgspec
import pytest
import trio
from execution_helpers import manifest, outcomes
from wheel_helpers import BLOCK, wheel

from cli.exits import WrongUse
from cli.requirements import inline_dependencies, pinned_requirements
from peer.execution.executor import SandboxedExecutor
from peer.runtimes import environments as module
from peer.runtimes.environments import Environments, find_uv
from peer.runtimes.python_env import PythonEnvRuntime
from protocol import encoding
from protocol.errors import LocalError

pytestmark = pytest.mark.skipif(find_uv() is None, reason="uv is not here; `./run setup` installs it")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the operator's uv finds packages, and nothing else: a folder."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "greeting", "1.0")
    wheel(folder, "greeting", "2.0", requires="manners>=3")
    wheel(folder, "manners", "3.1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


CODE = """
import greeting
def run(item):
    try:
        open(greeting.__file__, "a")
    except OSError:
        return greeting.VERSION
"""


async def run_with(folder: Path, requirements: str) -> object:
    executor = SandboxedExecutor([PythonEnvRuntime()])
    executor.prepared_in = folder
    wanted = manifest(CODE, runtime="python-env", requirements=requirements)
    with trio.fail_after(60):
        async with executor.open_runner(wanted) as runner:
            [outcome] = outcomes(await runner.run(encoding.encode([1])), 1)
    return outcome.value if outcome.ok else outcome.message


async def test_a_job_finds_its_packages_and_each_list_its_own(tmp_path, wheels, monkeypatch) -> None:
    assert await run_with(tmp_path / "env", "greeting==1.0") == "1.0"
    assert await run_with(tmp_path / "env", "greeting==2.0\nmanners==3.1") == "2.0"
    for path in wheels.iterdir():
        path.unlink()
    assert await run_with(tmp_path / "env", "greeting==1.0") == "1.0", "built once"


async def test_hashes_are_held(tmp_path, wheels) -> None:
    good = hashlib.sha256((wheels / "greeting-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert await run_with(tmp_path / "env", f"greeting==1.0 --hash=sha256:{good}") == "1.0"
    with pytest.raises(LocalError, match=r"cannot be installed here: .*[Hh]ash"):
        await run_with(tmp_path / "env", f"greeting==1.0 --hash=sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("requirements", "story"),
    [
        ("greeting==9.0", "cannot be installed here: .*greeting==9.0"),
        ("unknown-package==1.0", "cannot be installed here: .*unknown-package"),
        ("greeting", "not of the form name==version"),
        ("--index-url http://127.0.0.1:9/", "not of the form name==version"),
    ],
)
async def test_what_cannot_be_installed_is_an_error_of_the_machine(tmp_path, wheels, requirements, story) -> None:
    with pytest.raises(LocalError, match=story):
        await run_with(tmp_path / "env", requirements)
    assert not [path for path in (tmp_path / "env").rglob("*") if path.name == ".complete"]


async def test_source_is_never_built(tmp_path, wheels) -> None:
    """What would run its `setup.py` out here."""
    import io
    import tarfile

    with tarfile.open(wheels / "evil-1.0.tar.gz", "w:gz") as file:
        for name, text in (
            ("setup.py", f"open({str(tmp_path / 'ran')!r}, 'w')"),
            ("PKG-INFO", "Name: evil\nVersion: 1.0"),
        ):
            info = tarfile.TarInfo(f"evil-1.0/{name}")
            info.size = len(text)
            file.addfile(info, io.BytesIO(text.encode()))
    with pytest.raises(LocalError, match="cannot be installed here"):
        await run_with(tmp_path / "env", "evil==1.0")
    assert not (tmp_path / "ran").exists()


async def test_those_used_longest_ago_go_first_but_none_in_use(tmp_path, wheels, monkeypatch) -> None:
    monkeypatch.setattr(module, "ENVIRONMENTS_MAX", 2)
    kept = Environments(tmp_path / "env", find_uv())
    async with kept.of("greeting==1.0") as first:
        async with kept.of("manners==3.1") as second:
            pass
        async with kept.of("greeting==1.0 # again"):
            assert first.exists() and not second.exists()


async def test_one_list_is_built_once_at_a_time(tmp_path, wheels) -> None:
    kept, places = Environments(tmp_path / "env", find_uv()), []

    async def use() -> None:
        async with kept.of("greeting==1.0") as place:
            places.append(place.stat().st_ino)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(use)
    assert len(set(places)) == 1


async def test_without_a_peer_nothing_is_installed(wheels) -> None:
    executor = SandboxedExecutor([PythonEnvRuntime()])
    wanted = msgspec.structs.replace(manifest(CODE), runtime="python-env", requirements="greeting==1.0")
    with pytest.raises(LocalError, match="only a running peer does"):
        async with executor.open_runner(wanted):
            raise AssertionError("opened")


# What the submitter does.


def test_a_block_in_the_job_file_becomes_a_complete_list(tmp_path, wheels) -> None:
    pinned = pinned_requirements(None, tmp_path / "job.py", BLOCK)
    assert "greeting==2.0" in pinned and "manners==3.1" in pinned and pinned.count("--hash=sha256:") == 2
    assert "find-links" not in pinned
    assert pinned_requirements(None, tmp_path / "job.py", "def run(item): pass\n") == ""


def test_a_file_beats_the_block_and_a_complete_one_stays(tmp_path, wheels) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("greeting<2\n")
    assert "greeting==1.0" in pinned_requirements(file, tmp_path / "job.py", BLOCK)
    complete = "greeting==1.0 --hash=sha256:" + "0" * 64
    file.write_text(complete)
    assert pinned_requirements(file, tmp_path / "job.py", BLOCK) == complete


@pytest.mark.parametrize(
    ("text", "story"),
    [
        ("no-such-package", "no-such-package"),
        ("greeting>5", "greeting"),
        ("not a requirement !!", "requirements.txt: "),
        ("./wheels/greeting-1.0-py3-none-any.whl", "requirements.txt: "),
    ],
)
def test_what_cannot_be_resolved_is_said(tmp_path, wheels, text: str, story: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    with pytest.raises(WrongUse, match=story):
        pinned_requirements(file, tmp_path / "job.py", "")


@pytest.mark.parametrize(
    "block", ["# /// script\n# dependencies = [\n# ///\n", "# /// script\n# dependencies = 5\n# ///\n"]
)
def test_a_bad_block_is_said(tmp_path, block: str) -> None:
    with pytest.raises(WrongUse, match=r"the block `# /// script`"):
        inline_dependencies(tmp_path / "job.py", block)
