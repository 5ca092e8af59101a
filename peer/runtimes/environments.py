"""Environments of Python packages for jobs, built once for each list by `uv`, kept for the next job with the same one.

Wheels alone: nothing of a package runs until it is in the sandbox. Where packages come from is the owner's word (the
configuration of uv and its cache), never the job's. A list is complete, so what it does not name is not installed.
"""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from peer.disk import disk_errors
from protocol.errors import LocalError
from protocol.ids import digest
from protocol.pinned import check_pinned

ENVIRONMENTS_MAX = 16
"""Kept; the one used longest ago goes first, but none that is in use."""
BUILD_S_MAX = 900.0
_DONE = ".complete"
_LIST = "requirements.txt"

log = logging.getLogger(__name__)


def find_uv() -> Path | None:
    """The program, beside this Python or on the path."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    return Path(found) if found else None


class Environments:
    """Those in one folder, which belongs to one process."""

    def __init__(self, folder: Path, uv: Path) -> None:
        self._folder = folder
        self._uv = uv
        self._locks: dict[str, trio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def of(self, requirements: str) -> AsyncIterator[Path]:
        """The folder with the packages of this list, built first where need be; it stays within the context.

        Raises `LocalError` for a list that is not pinned, and with what uv says when it cannot be built.
        """
        check_pinned(requirements)
        name = digest(f"{sys.version_info[:2]}\n{requirements}".encode()).hex()[:32]
        self._users[name] = self._users.get(name, 0) + 1
        try:
            async with self._locks.setdefault(name, trio.Lock()):
                place = self._folder / name
                if not (place / _DONE).exists():
                    await self._build(place, requirements)
                os.utime(place / _DONE)
            yield place
        finally:
            self._users[name] -= 1

    async def _build(self, place: Path, requirements: str) -> None:
        with disk_errors("make an environment", self._folder):
            new = self._begun(requirements)
            try:
                await self._install(new, hashed="--hash=" in requirements)
                _finish(new, place)
            finally:
                shutil.rmtree(new, ignore_errors=True)

    def _begun(self, requirements: str) -> Path:
        """A new folder, for all users of the machine to read, since a sandbox may be another one."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._make_room()
        new = Path(tempfile.mkdtemp(dir=self._folder, prefix="new-"))
        new.chmod(0o755)
        (new / _LIST).write_text(requirements)
        return new

    async def _install(self, place: Path, *, hashed: bool) -> None:
        words = [str(self._uv), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--no-progress"]
        words += ["--python", sys.executable, "--target", str(place), "-r", str(place / _LIST)]
        words += ["--require-hashes"] if hashed else []
        with trio.move_on_after(BUILD_S_MAX) as scope:
            ended = await trio.run_process(
                words, capture_stdout=True, stderr=subprocess.STDOUT, stdin=b"", check=False, cwd="/"
            )
        if scope.cancelled_caught:
            raise LocalError(f"the packages of the job were not installed within {BUILD_S_MAX:.0f} s")
        if ended.returncode:
            told = ended.stdout.decode(errors="replace").splitlines()
            lines = [line.strip(" ×╰─▶\t") for line in told if line.strip()]
            log.info("uv: %s", "; ".join(lines))
            raise LocalError(f"the packages of the job cannot be installed here: {'; '.join(lines)[:500]}")

    def _make_room(self) -> None:
        kept = sorted(self._folder.glob(f"*/{_DONE}"), key=lambda path: path.stat().st_mtime_ns)
        free = [path.parent for path in kept if not self._users.get(path.parent.name)]
        for place in free[: max(0, len(kept) - ENVIRONMENTS_MAX + 1)]:
            shutil.rmtree(place, ignore_errors=True)


def _finish(new: Path, place: Path) -> None:
    """It gets its name when it is complete."""
    shutil.rmtree(place, ignore_errors=True)
    (new / _DONE).touch()
    new.rename(place)
