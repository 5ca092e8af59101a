"""The executor for virtual time gives what the sandboxed one gives, when it says it does."""

import pytest
import trio
from execution_helpers import manifest, run_one

from peer.seam import Execution, ExecutionFailure
from protocol import encoding
from protocol.errors import LocalError
from simulations.local_executor import LocalExecutor


@pytest.mark.parametrize(
    "code",
    [
        "def run(item):\n    return [item, {'b': (1, 2), 'a': None}]",
        "def run(item):\n    return 1 / (item - 7)",
        "def run(item):\n    return {item}",
        "import no_such_package",
        "x = 1",
        "def run(item)",
    ],
)
async def test_same_bytes_as_in_the_sandbox(sandbox, code):
    local = await run_one(LocalExecutor(), code, 7)
    sandboxed = await run_one(sandbox, code, 7)
    assert isinstance(local, Execution)
    assert isinstance(sandboxed, Execution)
    assert local.data == sandboxed.data


async def test_items_take_their_time(autojump_clock):
    executor = LocalExecutor(duration_s=lambda item: float(item), function=lambda item: -item)
    async with executor.open_runner(manifest("", item_timeout_s=10.0)) as runner:
        result = await runner.run(encoding.encode([1, 2, 3]))
    assert isinstance(result, Execution)
    assert result.data == encoding.encode([[True, -1], [True, -2], [True, -3]])
    assert result.compute_s == pytest.approx(6.0)


async def test_late_item_is_named(autojump_clock):
    executor = LocalExecutor(duration_s=lambda item: float(item), function=lambda item: item)
    async with executor.open_runner(manifest("", item_timeout_s=10.0)) as runner:
        started_at = trio.current_time()
        failure = await runner.run(encoding.encode([4, 11, 1]))
    assert isinstance(failure, ExecutionFailure)
    assert (failure.kind.name, failure.item) == ("TIMEOUT", 1)
    assert trio.current_time() - started_at == pytest.approx(14.0)


async def test_other_runtimes_are_not_offered():
    with pytest.raises(LocalError, match="'wasm' is not offered"):
        async with LocalExecutor().open_runner(manifest("", runtime="wasm")):
            pass


def test_environments_differ_where_told():
    assert LocalExecutor().environment("python") != LocalExecutor(environment=b"other").environment("python")
