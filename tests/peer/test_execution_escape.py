"""Attempts to get out of the sandbox, or to see what is outside. Each is tried from inside a real one."""

import os
import platform
from pathlib import Path

import pytest
from execution_helpers import outcomes, run_all, run_one

from peer.execution.executor import SandboxedExecutor

ENDED = ["OSError", "PermissionError", "FileNotFoundError", "ProcessLookupError", "BlockingIOError", "gaierror"]

# Numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) with arguments that would work outside.
SYSTEM_CALLS = {
    "ptrace": (101, 16, 1, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "unshare user": (272, 0x10000000),
    "unshare mount": (272, 0x20000),
    "setns": (308, 0, 0),
    "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0),
    "clone net": (56, 0x40000000 | 17, 0, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "open_tree": (428, -100, 0, 0),
    "fsopen": (430, 0, 0),
    "move_mount": (429, 0, 0, 0, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "userfaultfd": (323, 0),
    "memfd_create": (319, 0, 0),
    "shmget": (29, 0, 4096, 0o1600),
    "pidfd_getfd": (438, 0, 0, 0),
    "pidfd_open": (434, 1, 0),
    "init_module": (175, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0),
    "personality": (135, 0x0040000),
    "mlockall": (151, 3),
    "mmap of huge pages": (9, 0, 1 << 21, 3, 0x22 | 0x40000, -1, 0),
    "ioctl TIOCSTI": (16, 0, 0x5412, 0),
}
DENIED_ERRNO = 1
ENOSYS = 38


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls have other numbers here")
async def test_dangerous_system_calls_are_refused(sandbox):
    code = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def run(item):
            ctypes.set_errno(0)
            status = libc.syscall(*[ctypes.c_long(number) for number in item])
            return [status, ctypes.get_errno()]
    """
    calls = [list(call) for call in SYSTEM_CALLS.values()] + [[435, 0, 0]]
    answers = await run_all(sandbox, code, calls)
    assert dict(zip(SYSTEM_CALLS, answers, strict=False)) == {name: [-1, DENIED_ERRNO] for name in SYSTEM_CALLS}
    assert answers[-1] == [-1, ENOSYS], "clone3 must look absent, so that libc falls back"


@pytest.mark.parametrize(
    "statement",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "socket.socket(38, socket.SOCK_SEQPACKET)",
        "socket.create_connection(('127.0.0.1', 22), timeout=2)",
        "socket.getaddrinfo('example.org', 80)",
        "urllib.request.urlopen('http://127.0.0.1:80', timeout=2)",
    ],
)
async def test_there_is_no_network(sandbox, statement):
    [bad] = outcomes(await run_one(sandbox, f"import socket, urllib.request\ndef run(item):\n    {statement}"), 1)
    assert not bad.ok
    assert bad.error in (*ENDED, "URLError")


async def test_sockets_within_the_sandbox_work(sandbox):
    code = """
        import multiprocessing, socket
        def run(item):
            a, b = socket.socketpair()
            a.send(b"ping")
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return [b.recv(4), pool.map(abs, [-1, -2])]
    """
    assert await run_all(sandbox, code) == [[b"ping", [1, 2]]]


async def test_files_of_the_host_are_not_there(sandbox, tmp_path):
    data_folder = tmp_path / "data"
    data_folder.mkdir()
    (data_folder / "key").write_text("swordfish")
    repository = Path(__file__).parents[2]
    hidden = [
        "/etc/shadow", "/etc/hosts", "/etc/ssh", "/etc/resolv.conf", "/root", "/home", "/var", "/run", "/boot", "/sys",
        "/mnt", "/srv", str(Path.home()), str(Path.home() / ".ssh"), str(data_folder), str(repository / "tests"),
        str(repository / "pyproject.toml"), "/proc/1/root/etc/shadow", "/proc/1/root/root", "/proc/1/cwd/root",
    ]  # fmt: skip
    hidden = [path for path in hidden if path != "/"]
    code = "import os\ndef run(item):\n    return [path for path in item if os.path.exists(path)]"
    assert await run_all(sandbox, code, [hidden]) == [[]]


async def test_no_process_of_the_host_is_seen_and_no_environment(sandbox, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "swordfish")
    code = """
        import glob
        def run(item):
            found = {}
            for name in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    found[name] = open(name, "rb").read()
                except PermissionError:
                    found[name] = b""
            return found
    """
    [found] = await run_all(SandboxedExecutor(), code)
    assert {name.split("/")[2] for name in found} == {"1", "2"}
    told = b"\0".join(found.values())
    assert b"swordfish" not in told
    assert str(Path.home()).encode() + b"/" not in told
    assert str(Path(__file__).parents[2]).encode() not in told


async def test_inherited_descriptors_do_not_come_in(sandbox, tmp_path):
    (tmp_path / "secret").write_text("swordfish")
    fd = os.open(tmp_path / "secret", os.O_RDONLY)
    os.set_inheritable(fd, True)
    code = """
        import os
        def run(item):
            own = [f"/proc/self/fd/{fd}" for fd in sorted(map(int, os.listdir("/proc/self/fd")))]
            return [os.readlink(path) for path in own if os.path.exists(path) or os.path.islink(path)]
    """
    try:
        [found] = await run_all(sandbox, code)
    finally:
        os.close(fd)
    assert found[0] == "/dev/null"
    assert found[1] == found[2]
    assert sorted(one.partition(":")[0].partition(" ")[0] for one in found[3:]) == ["/memfd", "socket"]


async def test_the_user_has_no_powers(sandbox):
    code = """
        import os
        def run(item):
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            return [os.getresuid(), os.getresgid(), os.getgroups(), *(status[name].strip() for name in (
                "CapEff", "CapPrm", "CapAmb", "NoNewPrivs", "Seccomp"))]
    """
    [[users, groups, others, *powers]] = await run_all(sandbox, code)
    assert len(set(users)) == len(set(groups)) == 1
    assert users[0] > 60_000
    assert 0 not in others
    assert powers == ["0" * 16, "0" * 16, "0" * 16, "1", "2"]


@pytest.mark.parametrize(
    "statement",
    [
        "os.setuid(0)",
        "os.setgroups([0])",
        "os.mkdir('/x')",
        "os.mkdir('/usr/x')",
        "os.mkdir('/dev/x')",
        "os.mkdir('/etc/x')",
        "os.mkdir('/opt/x')",
        "os.chmod('/usr/bin/env', 0o777)",
        "open('/etc/passwd', 'a')",
        "open('/opt/parallel-peer/protocol/limits.py', 'a')",
        "open('/proc/sys/kernel/core_pattern', 'w')",
        "open('/proc/sys/kernel/hostname', 'w')",
        "open('/proc/sysrq-trigger', 'w')",
        "open('/proc/1/mem', 'rb').read(1)",
        "os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))",
        "os.link('/usr/bin/env', '/tmp/env')",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "os.setpriority(os.PRIO_PROCESS, 0, -5)",
        "resource.setrlimit(resource.RLIMIT_NPROC, (10_000, 10_000))",
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "subprocess.run(['/usr/bin/unshare', '-Ur', 'true'], check=True)",
        "subprocess.run(['/bin/su', '-c', 'true'], check=True, stdin=subprocess.DEVNULL)",
    ],
)
async def test_what_only_others_may_do_fails(sandbox, statement):
    code = f"import os, resource, subprocess\ndef run(item):\n    {statement}"
    [bad] = outcomes(await run_one(sandbox, code), 1)
    assert not bad.ok
    assert bad.error in (*ENDED, "CalledProcessError", "ValueError")


async def test_signals_reach_nobody_outside(sandbox):
    code = """
        import os, signal
        def run(item):
            reached = []
            for pid in item:
                try:
                    os.kill(pid, 0)
                    reached.append(pid)
                except (ProcessLookupError, PermissionError):
                    pass
            for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
                try:
                    os.kill(1, number)
                except PermissionError:
                    pass
            return reached
    """
    outside = [os.getpid(), os.getppid(), *range(100, 200)]
    [reached] = await run_all(sandbox, code, [outside])
    assert reached == []


async def test_terminal_of_the_host_is_out_of_reach(sandbox):
    [bad] = outcomes(await run_one(sandbox, "def run(item):\n    open('/dev/tty')"), 1)
    assert (bad.ok, bad.error) == (False, "OSError")
