"""Abuse inside every sandbox: time, memory, processes, files, output, and the runner's own channel."""

import os

import psutil
import pytest
import trio
from execution_helpers import MIB, manifest, outcomes, run_all, run_one
from sandbox_tiers import TIERS

from peer.execution.executor import SandboxedExecutor
from peer.execution.item_watch import ItemWatch
from peer.execution.limits import PROCESSES_MAX
from peer.seam import ExecutionFailure
from protocol import encoding
from protocol.limits import LOG_BYTES_PER_CHUNK_MAX

ITEM_TIMEOUT_S = 0.4
# Channel and progress: the two descriptors above the standard ones.
OWN_FDS = "[fd for fd in range(3, 64) if os.path.exists(f'/proc/self/fd/{fd}')]"
CHANNEL = f"next(fd for fd in {OWN_FDS} if os.readlink(f'/proc/self/fd/{{fd}}').startswith('socket:'))"
PROGRESS = f"next(fd for fd in {OWN_FDS} if 'progress' in os.readlink(f'/proc/self/fd/{{fd}}'))"


@pytest.fixture(params=["bubblewrap", "landlock of a user"])
def tier(request: pytest.FixtureRequest) -> str:
    """The two that differ here; what ends all processes has a third way, and is tried with all."""
    return str(request.param)


async def failure_then_works(any_sandbox, code: str, items: list[object], good: object, **fields: object):
    """The failure of a chunk whose runner must then serve the next one."""
    async with any_sandbox.open_runner(manifest(code, **fields)) as runner:
        failure = await runner.run(encoding.encode(items))
        assert isinstance(failure, ExecutionFailure), failure
        [next_one] = outcomes(await runner.run(encoding.encode([good])), 1)
        assert next_one.ok, next_one
    return failure


@pytest.mark.parametrize(
    "endless",
    [
        "while True: pass",
        "time.sleep(1000)",
        "[signal.signal(number, signal.SIG_IGN) for number in (1, 2, 15)]; time.sleep(1000)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "[threading.Thread(target=time.sleep, args=(1000,)).start() for _ in range(5)]; time.sleep(1000)",
        "re.match('(a+)+$', 'a' * 64 + 'b')",
    ],
)
async def test_item_that_never_returns_is_named(any_sandbox, endless):
    code = f"""
        import os, re, signal, threading, time
        def run(item):
            print("item", item, flush=True)
            if item == "endless":
                {endless}
            return item
    """
    failure = await failure_then_works(any_sandbox, code, [1, "endless", 3], 4, item_timeout_s=ITEM_TIMEOUT_S)
    assert (failure.kind.name, failure.item) == ("TIMEOUT", 1)
    assert "0.4 s" in failure.detail
    assert failure.log == b"item 1\nitem endless\n"


async def test_time_limit_is_for_each_item(any_sandbox):
    code = "import time\ndef run(item):\n    time.sleep(item)\n    return item"
    items = [ITEM_TIMEOUT_S * 0.6] * 4
    assert await run_all(any_sandbox, code, items, item_timeout_s=ITEM_TIMEOUT_S) == items


async def test_job_file_that_never_ends_loading():
    executor = SandboxedExecutor(load_timeout_s=0.3)
    if not executor.offers():
        pytest.skip(executor.sandbox_report().text)
    failure = await run_one(executor, "while True: pass")
    assert isinstance(failure, ExecutionFailure)
    assert (failure.kind.name, failure.item) == ("TIMEOUT", 0)
    assert "while the job file was loaded" in failure.detail


@pytest.mark.parametrize(
    ("crash", "told"),
    [
        ("os._exit(7)", "ended by itself with status 7"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("ctypes.string_at(0)", "ended by SIGSEGV"),
        ("os.abort()", "ended by SIGABRT"),
    ],
)
async def test_crash_names_the_item(any_sandbox, crash, told):
    code = f"""
        import ctypes, os
        def run(item):
            if item == 2:
                {crash}
            return item
    """
    failure = await failure_then_works(any_sandbox, code, [0, 1, 2, 3], 4)
    assert (failure.kind.name, failure.item) == ("CRASHED", 2)
    assert told in failure.detail
    if "SIGSEGV" in told:
        assert b'File "job_file.py"' in failure.log


async def test_crash_while_loading_is_told(any_sandbox):
    failure = await run_one(any_sandbox, "import os\nos._exit(1)")
    assert isinstance(failure, ExecutionFailure)
    assert failure.kind.name == "CRASHED"
    assert "while the job file was loaded" in failure.detail


HOARD = """
    import time
    def run(item):
        if item == "hoard":
            hoarded = []
            while True:
                hoarded.append(bytearray(b"x") * 4_000_000)
        return item
"""
HOARD_IN_CHILDREN = """
    import os, time
    def run(item):
        if item == "hoard":
            for _ in range(4):
                if os.fork() == 0:
                    hoarded = bytearray(b"x") * 60_000_000
                    time.sleep(1000)
            time.sleep(1000)
        return item
"""
HOARD_SHARED = """
    import mmap
    def run(item):
        if item == "hoard":
            shared = mmap.mmap(-1, 1 << 28)
            for place in range(0, len(shared), 4096):
                shared[place] = 1
            while True:
                pass
        return item
"""


@pytest.mark.parametrize("code", [HOARD, HOARD_IN_CHILDREN, HOARD_SHARED], ids=["one", "children", "shared"])
async def test_memory_of_all_processes_is_bounded(any_sandbox, code):
    failure = await failure_then_works(any_sandbox, code, [1, "hoard"], 1, memory_bytes_max=150 * MIB)
    assert (failure.kind.name, failure.item) == ("MEMORY", 1)


async def test_pages_that_children_share_count_once(any_sandbox):
    code = """
        import os, time
        def run(item):
            shared = bytearray(b"x") * 60_000_000
            children = [os.fork() for _ in range(3) if os.getpid() == parent]
            if os.getpid() != parent:
                time.sleep(0.3)
                os._exit(0)
            for child in children:
                os.waitpid(child, 0)
            return len(children)
        parent = os.getpid()
    """
    assert await run_all(any_sandbox, code, memory_bytes_max=150 * MIB) == [3]


async def test_address_space_is_bounded(any_sandbox):
    code = "def run(item):\n    return len(bytes(item))"
    failure = await failure_then_works(any_sandbox, code, [1, 1 << 40], 1)
    assert (failure.kind.name, failure.item) == ("MEMORY", 1)


FORK_BOMB = """
    import os, time
    def run(item):
        if item == 0:
            return 0
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except BlockingIOError:
                time.sleep(0.01)
"""


@pytest.mark.parametrize("tier", TIERS)
async def test_fork_bomb_ends_and_leaves_nothing(any_sandbox):
    before = set(psutil.pids())
    failure = await failure_then_works(any_sandbox, FORK_BOMB, [0, 1], 0, item_timeout_s=1.0)
    assert failure.item == 1
    assert not [pid for pid in set(psutil.pids()) - before if _is_left_over(pid)]


def _is_left_over(pid: int) -> bool:
    """A sandbox's process that is ours, or that nobody owns any more: other tests may have theirs beside us."""
    try:
        process = psutil.Process(pid)
        owners = [one.pid for one in process.parents() if one.pid != 1 and not _is_sandboxed(one)]
        return _is_sandboxed(process) and (not owners or os.getpid() in owners)
    except psutil.Error:
        return False


def _is_sandboxed(process: psutil.Process) -> bool:
    return "runner_main" in " ".join(process.cmdline())


async def test_number_of_processes_is_bounded(any_sandbox):
    code = """
        import os
        def run(item):
            reading, writing = os.pipe()
            children = []
            try:
                for _ in range(1000):
                    child = os.fork()
                    if child == 0:
                        os.close(writing)
                        os.read(reading, 1)
                        os._exit(0)
                    children.append(child)
            except BlockingIOError:
                pass
            os.close(writing)
            for child in children:
                os.waitpid(child, 0)
            return len(children)
    """
    [count] = await run_all(any_sandbox, code)
    assert PROCESSES_MAX - 2 <= count <= PROCESSES_MAX - 1


async def test_processes_left_behind_end_with_the_chunk(any_sandbox):
    code = """
        import os, time
        def run(item):
            if item == "leave" and os.fork() == 0:
                os.setsid()
                time.sleep(1000)
    """
    async with any_sandbox.open_runner(manifest(code)) as runner:
        outcomes(await runner.run(encoding.encode(["no"])), 1)
        before = psutil.Process().children(recursive=True)
        outcomes(await runner.run(encoding.encode(["leave"])), 1)
        outcomes(await runner.run(encoding.encode(["no"])), 1)
        after = psutil.Process().children(recursive=True)
    assert len(after) == len(before)
    assert not set(after) & set(before), "the runner was started again"


async def test_forked_child_cannot_answer_as_the_runner(any_sandbox):
    code = """
        import os, time
        def run(item):
            if os.fork() == 0:
                return "child"
            time.sleep(0.1)
            return item
    """
    assert await run_all(any_sandbox, code, [1]) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "open(f'{tempfile.gettempdir()}/big', 'wb').truncate(1 << 40)",
        "[open(f'/dev/shm/{n}', 'wb').write(bytes(50_000_000)) for n in range(20)]",
        "[open('/dev/null') for _ in range(10_000)] and None",
        "sum(1 for _ in iter(lambda: files.append(open('/dev/null')), 1))",
        "os.memfd_create('hidden')",
    ],
)
async def test_files_are_bounded(any_sandbox, statement):
    code = f"import os, tempfile\nfiles = []\ndef run(item):\n    {statement}"
    [bad] = outcomes(await run_one(any_sandbox, code), 1)
    assert not bad.ok
    assert bad.error in ("OSError", "PermissionError")


async def test_flood_of_output_is_bounded_and_does_not_last(any_sandbox):
    code = """
        import os
        def run(item):
            if item:
                while True:
                    os.write(1, b"y" * 65536)
    """
    failure = await failure_then_works(any_sandbox, code, [1], 0, item_timeout_s=ITEM_TIMEOUT_S)
    assert failure.kind.name == "TIMEOUT"
    assert len(failure.log) <= LOG_BYTES_PER_CHUNK_MAX


@pytest.mark.parametrize(
    "forged",
    [
        b"\xff" * 64,
        b"\x05hello",
        b"\x81\x64done",
        encoding.encode(["done", b"\x80"]),
        encoding.encode(["done", encoding.encode([[True, 1], [True, 2]])]),
        encoding.encode(["failed", "MEMORY", 99, "x"]),
        encoding.encode(["failed", "NO SUCH KIND", 0, "x"]),
        encoding.encode(["caged"]),
    ],
)
async def test_writing_to_the_own_channel_harms_only_the_job(any_sandbox, forged):
    framed = forged if forged[0] in (0xFF, 0x05) else bytes([len(forged)]) + forged
    code = f"""
        import os, time
        def run(item):
            if item:
                os.write({CHANNEL}, {framed!r})
                time.sleep(1000)
            return item
    """
    failure = await failure_then_works(any_sandbox, code, [1], 0, item_timeout_s=5.0)
    assert failure.kind.name == "CRASHED"
    assert "own channel" in failure.detail or "no valid form" in failure.detail


async def test_answers_ahead_of_their_chunk_are_not_believed(any_sandbox):
    ahead = encoding.encode(["done", encoding.encode([[True, "forged"]])])
    code = f"""
        import os, threading
        def run(item):
            if item == 1:
                frame = {bytes([len(ahead)]) + ahead!r}
                threading.Timer(0.1, lambda: os.write({CHANNEL}, frame)).start()
            return item
    """
    async with any_sandbox.open_runner(manifest(code)) as runner:
        outcomes(await runner.run(encoding.encode([1])), 1)
        await trio.sleep(0.3)
        assert (await runner.run(encoding.encode([2]))).kind.name == "CRASHED"
        assert outcomes(await runner.run(encoding.encode([2])), 1)[0].value == 2


async def test_closing_the_own_channel_is_a_crash(any_sandbox):
    code = f"import os, time\ndef run(item):\n    if item:\n        os.close({CHANNEL})\n        time.sleep(1000)\n"
    failure = await failure_then_works(any_sandbox, code, [1], 0)
    assert failure.kind.name == "CRASHED"


async def test_faked_progress_wins_no_time(any_sandbox):
    code = f"""
        import os, time
        def run(item):
            number = 0
            while item:
                number += 1
                os.pwrite({PROGRESS}, (2**63 + number).to_bytes(8, "little"), 0)
    """
    with trio.fail_after(5):
        failure = await failure_then_works(any_sandbox, code, [1], 0, item_timeout_s=ITEM_TIMEOUT_S)
    assert (failure.kind.name, failure.item) == ("TIMEOUT", 0)


async def test_progress_file_cannot_be_cut_or_grown(any_sandbox):
    code = f"""
        import os
        def run(item):
            failed = []
            for size in (0, 8192):
                try:
                    os.ftruncate({PROGRESS}, size)
                except PermissionError:
                    failed.append(size)
            return failed
    """
    assert await run_all(any_sandbox, code) == [[0, 8192]]


async def test_cancelling_kills_and_the_next_chunk_works(any_sandbox):
    code = "import time\ndef run(item):\n    print(item, flush=True)\n    time.sleep(item)\n    return item"
    async with any_sandbox.open_runner(manifest(code)) as runner:
        with trio.move_on_after(0.3) as scope:
            await runner.run(encoding.encode([1000]))
        assert scope.cancelled_caught
        [good] = outcomes(await runner.run(encoding.encode([0])), 1)
    assert good.value == 0


def test_item_watch_goes_forward_only():
    watch = ItemWatch(count=3, timeout_s=10.0, started_at=0.0)
    for item, now in ((1, 5.0), (0, 6.0), (7, 7.0), (None, 8.0), (1, 9.0)):
        watch.observe(item, now)
    assert (watch.item, watch.deadline) == (1, 15.0)
