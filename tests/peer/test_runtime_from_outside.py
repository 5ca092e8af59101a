"""A runtime that somebody else has written and installed: found by its entry point, offered, run in the sandbox."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from peer.execution.executor import SandboxedExecutor
from peer.owner_settings import parse_setting
from peer.runtimes.registry import all_runtimes, runtime_names
from peer.seam import Execution
from protocol import encoding
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.ids import JobId, digest

OUTSIDE = """
from pathlib import Path
from peer.execution.interpreter import Inside, this_interpreter
from peer.runtimes.base import Probe
from protocol.ids import digest

class Shout:
    name = "shout"
    compare = "exact"

    def probe(self):
        return Probe(versions={"shout": "1.2"})

    def environment(self, runtime):
        return digest(b"shout 1.2")

    def inside(self, manifest):
        return Inside(interpreter=this_interpreter(), loader=Path(__file__).with_name("shout_inside.py"))

def broken():
    raise RuntimeError("not today")
"""
INSIDE = """
def load(job):
    mark = job["code"].decode()
    return lambda item: item.upper() + mark
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with two entry points, one of which cannot be loaded."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    (tmp_path / "shout_runtime.py").write_text(dedent(OUTSIDE))
    (tmp_path / "shout_inside.py").write_text(dedent(INSIDE))
    about = tmp_path / "shout-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shout\nVersion: 1.2\n")
    points = "shout = shout_runtime:Shout\nbad = shout_runtime:broken\n"
    (about / "entry_points.txt").write_text(f"[parallel_peer.runtimes]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shout_runtime", raising=False)


async def test_a_runtime_from_outside_runs_like_ours(installed, caplog) -> None:
    assert {"python", "command", "blender", "shout", "bad"} <= set(runtime_names())
    executor = SandboxedExecutor([one for one in all_runtimes() if one.name == "shout"])
    assert "the runtime bad (shout_runtime:broken) cannot be loaded: not today" in caplog.text
    [offer] = executor.offers()
    assert (offer.name, offer.version) == ("shout", "1.2")
    assert executor.environment("shout") == digest(b"shout 1.2")
    async with executor.open_runner(Manifest(job=JobId("j"), runtime="shout", code=b"!")) as runner:
        ran = await runner.run(encoding.encode(["hello", 7]))
    assert isinstance(ran, Execution), ran
    [first, second] = encoding.decode(ran.data)
    assert first == [True, "HELLO!"] and second[:2] == [False, "AttributeError"]


def test_its_owner_may_offer_it_by_name(installed) -> None:
    assert parse_setting("runtimes", "shout,python", "--runtimes") == ("shout", "python")
    with pytest.raises(LocalError, match=r"takes runtimes out of python, .*shout, not 'whisper'"):
        parse_setting("runtimes", "whisper", "--runtimes")
