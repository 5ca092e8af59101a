"""Does a sandbox work on this machine? Tried once with a real one; says what helps when it does not."""

import time

from peer.execution.launch import JobCode, SandboxLauncher
from peer.execution.limits import START_TIMEOUT_S
from peer.execution.process import SandboxProcess
from protocol.errors import LocalError
from protocol.limits import MIB

_JOB = JobCode("probe", "probe.py", b"def run(item):\n    return item\n", "run", 256 * MIB)
_ADVICE = (
    (
        ("uid map", "new namespace", "unshare", "user namespace", "Operation not permitted"),
        "this system does not let this user make namespaces. Ways out: `sysctl -w user.max_user_namespaces=10000`; on "
        "Ubuntu 23.10 and later `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile for "
        "bwrap; in a container, start it with the right to make them (Docker: --security-opt seccomp=unconfined)",
    ),
    (
        ("Permission denied", "ModuleNotFoundError", "No module named"),
        "Python's files must be readable by all users: chmod -R a+rX the folders of the interpreter and its packages",
    ),
    (("Unknown option", "unrecognized"), "this bubblewrap is too old; 0.8 or later is needed"),
)


def try_sandbox(launcher: SandboxLauncher) -> None:
    """Start one sandbox and end it; raises `LocalError` with the reason and the way out. Blocks for about 50 ms."""
    process = launcher.start(_JOB)
    try:
        problem = _problem(process)
    finally:
        process.reap_blocking()
    if problem is not None:
        raise LocalError(problem)


def _problem(process: SandboxProcess) -> str | None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while (left_s := deadline - time.monotonic()) > 0:
        process.pump()
        if process.next_frame() is not None:
            return None
        if process.returncode is not None:
            return _explain(process.output.take().decode(errors="replace"))
        process.wait_blocking(left_s)
    return f"the trial sandbox did not start within {START_TIMEOUT_S:g} s"


def _explain(output: str) -> str:
    lines = output.strip().splitlines()
    said = lines[-1] if lines else "nothing was said"
    advice = next((text for signs, text in _ADVICE if any(sign in output for sign in signs)), "")
    return f"the trial sandbox failed: {said}" + (f"; {advice}" if advice else "")
