"""The kinds of sandbox that the tests run in, as far as this machine has them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from peer.execution.landlock_launch import LandlockLauncher
from peer.execution.launch import Launcher, SandboxLauncher

ORDINARY_USER = 12_400 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Another one for each process of the tests: what runs as one user counts together."""


def _open_python() -> Path | None:
    """Runners of root are other users: where the Python of these tests is closed to them, the system's serves."""
    usual = Path("/usr/bin") / f"python{sys.version_info.major}.{sys.version_info.minor}"
    closed = any(not folder.stat().st_mode & 1 for folder in Path(sys.base_prefix).parents)
    return usual if os.geteuid() == 0 and closed and usual.exists() else None


def _as_ordinary_user(abi: int | None = None) -> SandboxLauncher:
    user = ORDINARY_USER if os.geteuid() == 0 else None
    return LandlockLauncher(python=_open_python(), user=user, abi=abi)


TIERS: dict[str, Callable[[], SandboxLauncher]] = {
    "bubblewrap": Launcher,
    "landlock": lambda: LandlockLauncher(python=_open_python()),
    "landlock of a user": _as_ordinary_user,
    "oldest landlock": lambda: _as_ordinary_user(abi=1),
}
"""With root there are two kinds of the second tier: user ids of their own, and what an ordinary user has."""
