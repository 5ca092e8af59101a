"""Sandboxed executors for all tests that need one; where no sandbox can work, they say so and are skipped."""

import pytest
from sandbox_tiers import TIERS

from peer.execution.executor import SandboxedExecutor
from peer.execution.launch import SandboxLauncher
from peer.execution.probe import try_sandbox
from protocol.errors import LocalError


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


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "oldest landlock")) for name in TIERS])
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
