"""Rules about calls: clocks, entropy, processes, files and broad excepts only in their rooms.

`ROOMS` is the whole list of exceptions, each with its reason; one that is no longer needed fails a test.
"""

import ast
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

from source_tree import Source, dotted_call, references

CLOCKS = (
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.process_time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
    "datetime.date.today",
)  # fmt: skip
PROCESSES = (
    "subprocess", "multiprocessing", "trio.run_process", "trio.lowlevel.open_process", "os.fork", "os.forkpty",
    "os.system", "os.popen", "os.posix_spawn", "os.execv", "os.execve", "os.execvp", "os.execvpe", "pty.fork",
    "pty.spawn",
)  # fmt: skip
ENTROPY = ("secrets", "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "random.SystemRandom", "numpy.random")
_FILES = {"open", "print", "input", "io.open", "breakpoint", "eval", "exec", "compile", "__import__"}


def _matches(dotted: str, names: tuple[str, ...]) -> bool:
    return any(dotted == name or dotted.startswith(f"{name}.") for name in names)


def _referring(source: Source, names: tuple[str, ...], complaint: str) -> Iterator[str]:
    places = {node.lineno: (node, dotted) for node, dotted in references(source) if _matches(dotted, names)}
    yield from (source.at(node, f"{dotted}: {complaint}") for _, (node, dotted) in sorted(places.items()))


def clocks(source: Source) -> Iterator[str]:
    """Clocks that are read, or passed on, where no seam is built."""
    yield from _referring(source, CLOCKS, "time comes in as an argument, from trio's clock or from the seam")


def processes(source: Source) -> Iterator[str]:
    """Processes started outside of their places."""
    yield from _referring(source, PROCESSES, "processes are started in peer/execution and cli alone")


def entropy(source: Source) -> Iterator[str]:
    """Randomness that is not passed in."""
    yield from _referring(source, ENTROPY, "randomness is a random.Random that is passed in")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called = dotted_call(node, source) or ""
            seeded = called == "random.Random" and node.args and source.folder not in ("protocol", "dht")
            if called.startswith("random.") and called != "random.SystemRandom" and not seeded:
                yield source.at(node, f"{called}(): randomness is a random.Random that is passed in")


def files(source: Source) -> Iterator[str]:
    """Files, terminals and code made from text, in the folders of pure rules."""
    if source.folder not in ("protocol", "dht"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and dotted_call(node, source) in _FILES:
            yield source.at(node, f"{dotted_call(node, source)}() in a folder of pure rules")


def broad_excepts(source: Source) -> Iterator[str]:
    """Handlers for everything that do not pass the exception on."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_at_the_end(node):
            yield source.at(node, "a broad except belongs at a supervised task boundary only")


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(one) for one in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException"))


def _raises_at_the_end(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None


Rule = Callable[[Source], Iterator[str]]

ROOMS: dict[Rule, dict[str, str]] = {
    clocks: {
        "cli/*": "the seam is built here, and people are shown how long things take",
        "peer/execution/probe.py": "tries the sandbox before there is an event loop",
        "simulations/run.py": "tells how long a run took on this machine; nothing within the run sees it",
    },
    processes: {
        "peer/presence.py": "loginctl tells whether the machine is in use",
        "peer/execution/*": "runners are processes",
        "peer/runtimes/environments.py": "uv is a process",
        "peer/runtimes/command.py": "programs are asked for their versions",
        "peer/runtimes/inside/*": "runs in the sandbox",
        "peer/runtimes/blender.py": "the program is asked for its version",
        "cli/*": "a peer for one job, the peers of the demonstration, Blender and ffmpeg are processes",
    },
    entropy: {
        "cli/*": "the seam is built here",
    },
    files: {},
    broad_excepts: {
        "cli/main.py": "the outermost boundary: no user sees a traceback",
        "peer/execution/runner_job.py": "foreign code: whatever it raises is its outcome",
        "peer/libp2p_fixes_basic.py": "the supervised boundary of one stream's negotiation",
        "peer/libp2p_fixes_yamux.py": "the supervised boundary of one connection",
        "peer/libp2p_host.py": "the supervised boundary of one stream, and the end of the host",
        "peer/core.py": "the supervised boundary of one part of the peer",
        "peer/runtimes/inside/blender_program.py": "runs in Blender's own Python",
        "peer/runtimes/registry.py": "the supervised boundary of a runtime that somebody has added",
        "peer/worker.py": "the supervised boundary of one job stream",
        "simulations/sweep.py": "the supervised boundary of one run: its failure is its row",
        "simulations/memory_host.py": "the supervised boundary of one stream, and the end of the network",
        "simulations/posting_host.py": "the supervised boundary of one request",
    },
}


def outside_rooms(rule: Rule, source: Source) -> list[str]:
    """The complaints of a rule about a file that has no leave."""
    return [] if any(fnmatch(source.path, room) for room in ROOMS[rule]) else list(rule(source))
