"""A sandboxed executor for all tests that need one; where no sandbox can work, they say so and are skipped."""

import pytest

from peer.execution.executor import SandboxedExecutor


@pytest.fixture(scope="session")
def sandbox() -> SandboxedExecutor:
    """One for the whole session: it holds no processes of its own."""
    executor = SandboxedExecutor()
    report = executor.sandbox_report()
    if not report.works:
        pytest.skip(f"no sandbox here: {report.text}")
    return executor
