"""Attempts to get out of the any_sandbox, or to see what is outside. Each is tried from inside a real one."""

import os
import platform
from pathlib import Path

import psutil
import pytest
from execution_helpers import manifest, outcomes, run_all, run_one

from peer.data_folder import DataFolder
from protocol import encoding

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
async def test_dangerous_system_calls_are_refused(any_sandbox):
    code = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def run(item):
            ctypes.set_errno(0)
            status = libc.syscall(*[ctypes.c_long(number) for number in item])
            return [status, ctypes.get_errno()]
    """
    calls = [list(call) for call in SYSTEM_CALLS.values()] + [[435, 0, 0]]
    answers = await run_all(any_sandbox, code, calls)
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
async def test_there_is_no_network(any_sandbox, statement):
    [bad] = outcomes(await run_one(any_sandbox, f"import socket, urllib.request\ndef run(item):\n    {statement}"), 1)
    assert not bad.ok
    assert bad.error in (*ENDED, "URLError")


async def test_sockets_within_the_sandbox_work(any_sandbox):
    code = """
        import os, socket
        def run(item):
            a, b = socket.socketpair()
            if os.fork() == 0:
                a.send(b"ping")
                os._exit(0)
            return b.recv(4)
    """
    assert await run_all(any_sandbox, code) == [b"ping"]


async def test_pools_of_processes_work_in_the_first_tier(any_sandbox, tier):
    """Their locks lie in /dev/shm, which all programs of a machine share: the second tier shows none."""
    code = """
        import multiprocessing
        def run(item):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return pool.map(abs, [-1, -2])
    """
    [one] = outcomes(await run_one(any_sandbox, code), 1)
    if tier == "bubblewrap":
        assert one.value == [1, 2]
    else:
        assert (one.ok, one.error) == (False, "PermissionError")


async def test_files_of_the_host_are_not_there(any_sandbox, tier, tmp_path):
    """In the second tier they can be seen to exist where their folders are open, but neither read nor listed."""
    data_folder = DataFolder(tmp_path / "data")
    data_folder.create()
    for file in (data_folder.key, data_folder.journal):
        file.write_text("swordfish")
    repository = Path(__file__).parents[2]
    hidden = [
        "/etc/shadow", "/etc/hosts", "/etc/ssh", "/etc/resolv.conf", "/root", "/home", "/var", "/run", "/boot", "/sys",
        "/mnt", "/srv", str(Path.home()), str(Path.home() / ".ssh"), str(data_folder.path), str(data_folder.key),
        str(data_folder.journal), str(repository / "tests"),
        str(repository / "pyproject.toml"), "/proc/1/root/etc/shadow", "/proc/1/root/root", "/proc/1/cwd/root",
    ]  # fmt: skip
    code = """
        import os
        def run(item):
            found = []
            for path in item:
                for look in (os.path.exists,) if SEEN else (os.listdir, lambda path: open(path).read()):
                    try:
                        found += [path] if look(path) is not False else []
                    except (PermissionError, NotADirectoryError, FileNotFoundError):
                        pass
            return found
    """
    code = code.replace("SEEN", str(tier == "bubblewrap"))
    assert await run_all(any_sandbox, code, [hidden]) == [[]]


async def test_no_process_of_the_host_is_seen_and_no_environment(any_sandbox, tier, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "swordfish")
    code = """
        def run(item):
            found = {}
            for name in [f"/proc/{pid}/{file}" for pid in range(1, 33_000) for file in ("environ", "cmdline", "maps")]:
                try:
                    found[name] = open(name, "rb").read()
                except (FileNotFoundError, PermissionError):
                    pass
            return found
    """
    [found] = await run_all(any_sandbox, code)
    assert {name.split("/")[2] for name in found} == ({"1", "2"} if tier == "bubblewrap" else set())
    told = b"\0".join(found.values())
    assert b"swordfish" not in told
    assert str(Path.home()).encode() + b"/" not in told
    assert str(Path(__file__).parents[2]).encode() not in told


async def test_inherited_descriptors_do_not_come_in(any_sandbox, tmp_path):
    (tmp_path / "secret").write_text("swordfish")
    fd = os.open(tmp_path / "secret", os.O_RDONLY)
    os.set_inheritable(fd, True)
    code = """
        import os
        def run(item):
            return [os.readlink(f"/proc/self/fd/{fd}") for fd in range(256) if os.path.islink(f"/proc/self/fd/{fd}")]
    """
    try:
        [found] = await run_all(any_sandbox, code)
    finally:
        os.close(fd)
    assert found[0] == "/dev/null"
    assert found[1] == found[2]
    assert sorted(one.partition(":")[0].partition(" ")[0] for one in found[3:]) == ["/memfd", "socket"]


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def test_the_user_has_no_powers(any_sandbox):
    code = """
        import os
        def run(item):
            return [os.getresuid(), os.getresgid(), os.getgroups(), os.getpid()]
    """
    async with any_sandbox.open_runner(manifest(code)) as runner:
        [found] = outcomes(await runner.run(encoding.encode([1])), 1)
        status = _status(psutil.Process().children(recursive=True)[-1].pid)
    users, groups, others, _ = found.value
    assert len(set(users)) == len(set(groups)) == 1
    assert users[0] > 0
    assert 0 not in others
    powers = [status[name] for name in ("CapEff", "CapPrm", "CapAmb", "NoNewPrivs", "Seccomp")]
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
async def test_what_only_others_may_do_fails(any_sandbox, statement):
    code = f"import os, resource, subprocess\ndef run(item):\n    {statement}"
    [bad] = outcomes(await run_one(any_sandbox, code), 1)
    assert not bad.ok
    assert bad.error in (*ENDED, "CalledProcessError", "ValueError")


async def test_signals_reach_nobody_outside(any_sandbox):
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
    [reached] = await run_all(any_sandbox, code, [outside])
    assert reached == []


async def test_terminal_of_the_host_is_out_of_reach(any_sandbox):
    [bad] = outcomes(await run_one(any_sandbox, "def run(item):\n    open('/dev/tty')"), 1)
    assert not bad.ok
    assert bad.error in ("OSError", "PermissionError")
