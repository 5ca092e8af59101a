"""Abuse inside the sandbox: time, memory, processes, files, output, and the runner's own channel."""

import os

import psutil
import pytest
import trio
from execution_helpers import MIB, manifest, outcomes, run_all, run_one

from peer.execution.executor import SandboxedExecutor
from peer.execution.item_watch import ItemWatch
from peer.execution.limits import PROCESSES_MAX, SANDBOX_PEERS_MAX, SANDBOX_UID_FIRST, SANDBOX_UIDS_PER_PEER
from peer.seam import ExecutionFailure
from protocol import encoding
from protocol.limits import LOG_BYTES_PER_CHUNK_MAX

ITEM_TIMEOUT_S = 0.4
# Channel and progress: the two descriptors above the standard ones.
OWN_FDS = "[fd for fd in range(3, 64) if os.path.exists(f'/proc/self/fd/{fd}')]"
CHANNEL = f"next(fd for fd in {OWN_FDS} if os.readlink(f'/proc/self/fd/{{fd}}').startswith('socket:'))"
PROGRESS = f"next(fd for fd in {OWN_FDS} if 'progress' in os.readlink(f'/proc/self/fd/{{fd}}'))"


async def failure_then_works(sandbox, code: str, items: list[object], good: object, **fields: object):
    """The failure of a chunk whose runner must then serve the next one."""
    async with sandbox.open_runner(manifest(code, **fields)) as runner:
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
async def test_item_that_never_returns_is_named(sandbox, endless):
    code = f"""
        import os, re, signal, threading, time
        def run(item):
            print("item", item, flush=True)
            if item == "endless":
                {endless}
            return item
    """
    failure = await failure_then_works(sandbox, code, [1, "endless", 3], 4, item_timeout_s=ITEM_TIMEOUT_S)
    assert (failure.kind.name, failure.item) == ("TIMEOUT", 1)
    assert "0.4 s" in failure.detail
    assert failure.log == b"item 1\nitem endless\n"


async def test_time_limit_is_for_each_item(sandbox):
    code = "import time\ndef run(item):\n    time.sleep(item)\n    return item"
    items = [ITEM_TIMEOUT_S * 0.6] * 4
    assert await run_all(sandbox, code, items, item_timeout_s=ITEM_TIMEOUT_S) == items


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
async def test_crash_names_the_item(sandbox, crash, told):
    code = f"""
        import ctypes, os
        def run(item):
            if item == 2:
                {crash}
            return item
    """
    failure = await failure_then_works(sandbox, code, [0, 1, 2, 3], 4)
    assert (failure.kind.name, failure.item) == ("CRASHED", 2)
    assert told in failure.detail
    if "SIGSEGV" in told:
        assert b'File "job_file.py"' in failure.log


async def test_crash_while_loading_is_told(sandbox):
    failure = await run_one(sandbox, "import os\nos._exit(1)")
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
async def test_memory_of_all_processes_is_bounded(sandbox, code):
    failure = await failure_then_works(sandbox, code, [1, "hoard"], 1, memory_bytes_max=150 * MIB)
    assert (failure.kind.name, failure.item) == ("MEMORY", 1)


async def test_pages_that_children_share_count_once(sandbox):
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
    assert await run_all(sandbox, code, memory_bytes_max=150 * MIB) == [3]


async def test_address_space_is_bounded(sandbox):
    code = "def run(item):\n    return len(bytes(item))"
    failure = await failure_then_works(sandbox, code, [1, 1 << 40], 1)
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


async def test_fork_bomb_ends_and_leaves_nothing(sandbox):
    before = set(psutil.pids())
    failure = await failure_then_works(sandbox, FORK_BOMB, [0, 1], 0, item_timeout_s=1.0)
    assert failure.item == 1
    assert not [pid for pid in set(psutil.pids()) - before if _belongs_to_a_sandbox(pid)]


def _belongs_to_a_sandbox(pid: int) -> bool:
    """Of this process: others on this machine may have theirs."""
    first = SANDBOX_UID_FIRST + os.getpid() % SANDBOX_PEERS_MAX * SANDBOX_UIDS_PER_PEER
    try:
        process = psutil.Process(pid)
        ours = os.geteuid() or process.uids().real in range(first, first + SANDBOX_UIDS_PER_PEER)
        return bool(ours) and "runner_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


async def test_number_of_processes_is_bounded(sandbox):
    code = """
        import os, signal
        def run(item):
            children = []
            try:
                for _ in range(1000):
                    child = os.fork()
                    if child == 0:
                        signal.pause()
                    children.append(child)
            except BlockingIOError:
                pass
            for child in children:
                os.kill(child, 9)
                os.waitpid(child, 0)
            return len(children)
    """
    [count] = await run_all(sandbox, code)
    assert PROCESSES_MAX - 2 <= count <= PROCESSES_MAX - 1


async def test_processes_left_behind_end_with_the_chunk(sandbox):
    code = """
        import os, time
        def run(item):
            if item == "leave" and os.fork() == 0:
                os.setsid()
                time.sleep(1000)
            return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        outcomes(await runner.run(encoding.encode(["leave"])), 1)
        [after] = outcomes(await runner.run(encoding.encode(["look"])), 1)
    assert len(after.value) == 2


async def test_forked_child_cannot_answer_as_the_runner(sandbox):
    code = """
        import os, time
        def run(item):
            if os.fork() == 0:
                return "child"
            time.sleep(0.1)
            return item
    """
    assert await run_all(sandbox, code, [1]) == [1]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("open('/tmp/big', 'wb').truncate(1 << 40)", "OSError"),
        ("[open(f'/tmp/{n}', 'wb').write(bytes(50_000_000)) for n in range(20)]", "OSError"),
        ("[open(f'/dev/shm/{n}', 'wb').write(bytes(50_000_000)) for n in range(20)]", "OSError"),
        ("[open('/dev/null') for _ in range(10_000)] and None", "OSError"),
        ("sum(1 for _ in iter(lambda: files.append(open('/dev/null')), 1))", "OSError"),
        ("os.memfd_create('hidden')", "PermissionError"),
    ],
)
async def test_files_are_bounded(sandbox, statement, error):
    [bad] = outcomes(await run_one(sandbox, f"import os\nfiles = []\ndef run(item):\n    {statement}"), 1)
    assert (bad.ok, bad.error) == (False, error)


async def test_flood_of_output_is_bounded_and_does_not_last(sandbox):
    code = """
        import os
        def run(item):
            if item:
                while True:
                    os.write(1, b"y" * 65536)
    """
    failure = await failure_then_works(sandbox, code, [1], 0, item_timeout_s=ITEM_TIMEOUT_S)
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
async def test_writing_to_the_own_channel_harms_only_the_job(sandbox, forged):
    framed = forged if forged[0] in (0xFF, 0x05) else bytes([len(forged)]) + forged
    code = f"""
        import os, time
        def run(item):
            if item:
                os.write({CHANNEL}, {framed!r})
                time.sleep(1000)
            return item
    """
    failure = await failure_then_works(sandbox, code, [1], 0, item_timeout_s=5.0)
    assert failure.kind.name == "CRASHED"
    assert "own channel" in failure.detail or "no valid form" in failure.detail


async def test_answers_ahead_of_their_chunk_are_not_believed(sandbox):
    ahead = encoding.encode(["done", encoding.encode([[True, "forged"]])])
    code = f"""
        import os, threading
        def run(item):
            if item == 1:
                frame = {bytes([len(ahead)]) + ahead!r}
                threading.Timer(0.1, lambda: os.write({CHANNEL}, frame)).start()
            return item
    """
    async with sandbox.open_runner(manifest(code)) as runner:
        outcomes(await runner.run(encoding.encode([1])), 1)
        await trio.sleep(0.3)
        assert (await runner.run(encoding.encode([2]))).kind.name == "CRASHED"
        assert outcomes(await runner.run(encoding.encode([2])), 1)[0].value == 2


async def test_closing_the_own_channel_is_a_crash(sandbox):
    code = f"import os, time\ndef run(item):\n    if item:\n        os.close({CHANNEL})\n        time.sleep(1000)\n"
    failure = await failure_then_works(sandbox, code, [1], 0)
    assert failure.kind.name == "CRASHED"


async def test_faked_progress_wins_no_time(sandbox):
    code = f"""
        import os, time
        def run(item):
            number = 0
            while item:
                number += 1
                os.pwrite({PROGRESS}, (2**63 + number).to_bytes(8, "little"), 0)
    """
    with trio.fail_after(5):
        failure = await failure_then_works(sandbox, code, [1], 0, item_timeout_s=ITEM_TIMEOUT_S)
    assert (failure.kind.name, failure.item) == ("TIMEOUT", 0)


async def test_progress_file_cannot_be_cut_or_grown(sandbox):
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
    assert await run_all(sandbox, code) == [[0, 8192]]


async def test_cancelling_kills_and_the_next_chunk_works(sandbox):
    code = "import time\ndef run(item):\n    print(item, flush=True)\n    time.sleep(item)\n    return item"
    async with sandbox.open_runner(manifest(code)) as runner:
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
