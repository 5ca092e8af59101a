"""When a peer offers the wasm runtime, and what it says when it does not. Without `wasmtime`."""

import importlib.metadata
from importlib.machinery import ModuleSpec

import pytest

from peer.execution.interpreter import this_interpreter
from peer.runtimes import wasm
from peer.runtimes.inside import arguments
from peer.runtimes.registry import all_runtimes, named
from peer.runtimes.wasm import WASM_RUNTIME, WasmRuntime


@pytest.fixture
def installed(monkeypatch):
    """Pretends that a version is installed in a folder, or none."""

    def install(version: str | None, folder: str = "") -> None:
        place = folder or str(this_interpreter().package_folders[0])
        spec = None if version is None else ModuleSpec("wasmtime", None, origin=f"{place}/wasmtime/__init__.py")
        monkeypatch.setattr(wasm, "find_spec", lambda name: spec)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)

    return install


def test_what_is_installed_is_offered(installed) -> None:
    installed("50.3.1")
    assert WasmRuntime().probe().versions == {WASM_RUNTIME: "50.3.1"}


@pytest.mark.parametrize(
    ("version", "folder", "problem"),
    [
        (None, "", "the package wasmtime is not installed"),
        ("49.0.0", "", "wasmtime 49.0.0 counts fuel in its own way"),
        ("51.0.0", "", "wasmtime 51.0.0 counts fuel in its own way"),
        ("50.0.1", "/somewhere/else", "the sandbox cannot see /somewhere/else/wasmtime/__init__.py"),
    ],
)
def test_what_cannot_be_used_is_not_offered(installed, version: str | None, folder: str, problem: str) -> None:
    installed(version, folder)
    probe = WasmRuntime().probe()
    assert not probe.versions and probe.problem == problem and "pip install 'wasmtime==50.*'" in probe.fix


def test_all_peers_are_of_one_kind(installed) -> None:
    installed("50.0.0")
    one = WasmRuntime().environment(WASM_RUNTIME)
    installed("50.9.9")
    assert one == WasmRuntime().environment(WASM_RUNTIME) and len(one) == 32


def test_it_is_one_of_ours() -> None:
    assert isinstance(named(all_runtimes(), WASM_RUNTIME), WasmRuntime)


def test_a_deep_tree_with_links_and_closed_folders_is_removed(tmp_path) -> None:
    (tmp_path / "kept").write_text("kept")
    root = folder = tmp_path / "root"
    for depth in range(30):
        folder = folder / "d"
        folder.mkdir(parents=True)
        (folder / "link").symlink_to(tmp_path)
        (folder / "file").write_text(str(depth))
    folder.chmod(0)
    arguments.remove_tree(root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
