"""Ends what killed peers have left of sandboxes that were just starting.

Bubblewrap's first process inside waits for the one outside before it watches it. A peer that is killed in
that millisecond takes the one outside with it, and the other would wait for ever. It has loaded nothing and
holds next to nothing, and the next peer that starts on this machine ends it.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil


def end_orphans(bubblewrap: Path, program: str) -> None:
    """Kill first processes of sandboxes (started by `bubblewrap` for `program`) that have lost their outer one."""
    for process in _sandboxes(str(bubblewrap), program):
        with suppress(psutil.Error, OSError):
            fd = os.pidfd_open(process.pid)
            try:
                if _is_orphan(process):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)


def _sandboxes(bubblewrap: str, program: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = process.cmdline()
            if command[:1] == [bubblewrap] and program in command:
                yield process


def _is_orphan(process: psutil.Process) -> bool:
    """The first one inside is number 1 in its own namespace, and its parent is bubblewrap with the same arguments."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
    numbers: Sequence[str] = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), ())
    parent = process.parent()
    is_first_inside = len(numbers) > 1 and numbers[-1] == "1"
    return is_first_inside and (parent is None or parent.cmdline() != process.cmdline())
