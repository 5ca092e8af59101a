"""The first program of a sandbox of the second tier: it starts the runner, waits, and ends all that is left of it.

Started as `landlock_main.py PEER UID FOLDER` and the runner's own arguments. No foreign code runs in this process.
Where there is no process namespace that the kernel ends as a whole, somebody must: daemons of the job become children
of this process, whichever way they came about, and when the runner or the peer ends, it kills until there is none.
Then it removes the runner's folder. It ends as the runner did.
"""

import contextlib
import os
import resource
import signal
import sys

_PROGRAM = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM)
_SIGNALLED = 128
_READ_BYTES_MAX = 4096
_REMOVE = """{
    rm -rf --one-file-system -- "$1" || { chmod -R u+rwx -- "$1"; rm -rf --one-file-system -- "$1"; }
} > /dev/null 2>&1 &"""
"""By a program that no depth of folders exhausts. A job may have shut its folders: then they are opened first."""


def main() -> None:
    """Start the runner and stay until everything has ended."""
    sys.path.insert(0, _PROGRAM)
    from peer.execution import landlock_wall

    peer, uid, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    landlock_wall.guard_descendants(signal.SIGTERM)
    if os.getppid() != peer:
        return
    runner = os.fork()
    if runner == 0:
        _become_runner(sys.argv[4:7])
        return
    _close_all()
    code = _wait(runner)
    _end_all(uid)
    _remove(folder)
    os._exit(code)


def _become_runner(arguments: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.setsid()
    sys.argv[1:] = arguments
    from peer.execution import runner_main

    runner_main.main()


def _close_all() -> None:
    """The runner's descriptors are its own: its channel is closed when it has closed it."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _wait(runner: int) -> int:
    """How the runner ended, as the shell tells it; SIGTERM where the peer has told or left us."""
    while True:
        number = signal.sigwait(_SIGNALS)
        for pid, status in _ended():
            if pid == runner:
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else _SIGNALLED + os.WTERMSIG(status)
        if number == signal.SIGTERM:
            return _SIGNALLED + signal.SIGTERM


def _ended() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(one)
    return found


def _end_all(uid: int) -> None:
    """Kill until there is no child: what is born meanwhile becomes one, and there are bounds to how many."""
    with contextlib.suppress(ChildProcessError):
        while True:
            if uid:
                _kill_user(uid)
            else:
                _kill_descendants()
            os.waitpid(-1, 0)
            _ended()


def _kill_user(uid: int) -> None:
    """The user id belongs to this sandbox alone; one call reaches all of its processes, those being born as well."""
    killer = os.fork()
    if killer:
        os.waitpid(killer, 0)
        return
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.kill(-1, signal.SIGKILL)
    finally:
        os._exit(0)


def _kill_descendants() -> None:
    for pid in _descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
            os.kill(pid, signal.SIGKILL)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read(_READ_BYTES_MAX).rpartition(b")")[2].split()
            children.setdefault(int(fields[1]), []).append(pid)
    found = list(children.get(os.getpid(), ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def _remove(folder: str) -> None:
    """Nobody waits for it: thousands of folders take seconds. A shell, since it lets go of what it has started."""
    shell = os.fork()
    if shell:
        os.waitpid(shell, 0)
        return
    try:
        os.execvp("sh", ("sh", "-c", _REMOVE, "sh", folder))
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
