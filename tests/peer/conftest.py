"""Sandboxed executors for all tests that need one; where no sandbox can work, they say so and are skipped."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.execution.executor import SandboxedExecutor
from peer.execution.landlock_launch import LandlockLauncher
from peer.execution.launch import Launcher, SandboxLauncher
from peer.execution.probe import try_sandbox
from protocol.errors import LocalError

ORDINARY_USER = 12_345


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


@pytest.fixture(scope="session")
def launchers() -> dict[str, SandboxLauncher | str]:
    """One of each tier for the whole session, or the reason why there is none; they hold no processes of their own."""
    found: dict[str, SandboxLauncher | str] = {}
    for name, make in TIERS.items():
        try:
            found[name] = launcher = make()
            try_sandbox(launcher)
        except LocalError as error:
            found[name] = str(error)
    return found


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    """The name of a tier: what uses this runs for each of them."""
    return str(request.param)


@pytest.fixture
def any_sandbox(tier: str, launchers: dict[str, SandboxLauncher | str]) -> SandboxedExecutor:
    """A sandbox of each tier that this machine has."""
    launcher = launchers[tier]
    if isinstance(launcher, str):
        pytest.skip(f"no {tier} here: {launcher}")
    return SandboxedExecutor(launcher=launcher)


@pytest.fixture(scope="session")
def sandbox() -> SandboxedExecutor:
    """One for the whole session: it holds no processes of its own."""
    executor = SandboxedExecutor()
    report = executor.sandbox_report()
    if not report.works:
        pytest.skip(f"no sandbox here: {report.text}")
    return executor
