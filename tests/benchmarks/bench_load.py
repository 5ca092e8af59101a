"""One coordinator with 200 workers and 100,000 chunks: its memory, and whether it still answers its owner.

The coordinator is a `peer start`, asked by the `peer` command as a person would. The workers are whole peers over
loopback libp2p, fifty to a process; they sleep for each chunk instead of computing in a sandbox (`light_workers.py`).
Items take so long that each is a chunk. Targets: `peer status` under 1 s all the while.
Usage: bench_load.py [CHUNKS] [WORKERS]
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli.child import ChildPeer
from peer.data_folder import DataFolder
from peer.views import JobView

CHUNKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
WORKERS = int(sys.argv[2]) if len(sys.argv) > 2 else 200
PER_PROCESS = 50
ITEM_S = 0.6
"""Above half of the longest chunk, so that no two items share one."""
JOIN_TIMEOUT_S = 300.0
ASK_INTERVAL_S = 5.0
CODE = "def run(item):\n    return item * 2\n"
SCRIPT = Path(__file__).parent / "light_workers.py"


@contextmanager
def workers(bootstrap: str) -> Iterator[None]:
    """The processes of all workers."""
    with ExitStack() as stack:
        for first in range(0, WORKERS, PER_PROCESS):
            words = [sys.executable, str(SCRIPT), str(min(PER_PROCESS, WORKERS - first)), bootstrap, str(ITEM_S)]
            process = stack.enter_context(subprocess.Popen(words, stdin=subprocess.PIPE))
            stack.callback(process.kill)
        yield


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def wait_for_workers(child: ChildPeer) -> None:
    """Until the directory knows nearly all of them: a record may be on its way to others."""
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while (known := len(child.client.peers())) < WORKERS * 0.95:
        assert time.monotonic() < deadline, f"{known} of {WORKERS} workers joined"
        time.sleep(2)
    print(f"{known} workers known, coordinator {resident_mib(child.pid):.0f} MiB")


def submit(folder: Path, data: Path) -> str:
    """The job, by the command; its id."""
    (folder / "job.py").write_text(CODE)
    (folder / "in.jsonl").write_text("\n".join(map(str, range(CHUNKS))) + "\n")
    words = [
        "submit",
        "python",
        str(folder / "job.py"),
        "--map",
        str(folder / "in.jsonl"),
        "--out",
        str(folder / "out"),
    ]
    options = ["--verify", "none", "--local", "off", "--workers-max", "256", "--detach", "--json"]
    return str(json.loads(command(data, *words, *options))["job"])


def command(data: Path, *words: str) -> str:
    """One `peer` command; what it printed."""
    everything = [sys.executable, "-m", "cli", *words, "--data", str(data)]
    return subprocess.run(everything, check=True, capture_output=True, text=True).stdout


def follow(child: ChildPeer, job: str) -> JobView:
    """Ask for the status again and again until the job has ended; its last view."""
    commands, answers, shows = [], [], []
    started = time.perf_counter()
    while not (view := timed(shows, lambda: child.client.job(job))).state.is_final:
        timed(commands, lambda: command(child.folder.path, "status"))
        timed(answers, child.client.status)
        working = sum(one.state == "working" for one in view.workers)
        print(
            f"{time.perf_counter() - started:6.0f} s: {view.items_done:,} done, {working} workers, "
            f"{resident_mib(child.pid):.0f} MiB, `peer status` {commands[-1]:.2f} s, its answer {answers[-1]:.2f} s, "
            f"the job's {shows[-1]:.2f} s",
            flush=True,
        )
        time.sleep(ASK_INTERVAL_S)
    for name, took in (("`peer status`", commands), ("the answer to it", answers), ("the job's view", shows)):
        print(f"{name}: median {statistics.median(took):.2f} s, at most {max(took):.2f} s of {len(took)}")
    return view


def timed(into: list[float], ask):  # type: ignore[no-untyped-def]
    """What `ask` gives; how long it took goes into the list."""
    started = time.perf_counter()
    answer = ask()
    into.append(time.perf_counter() - started)
    return answer


def main() -> None:
    """See above."""
    options = ["--listen", "/ip4/127.0.0.1/tcp/0", "--slots", "0"]
    with (
        tempfile.TemporaryDirectory(prefix="pp-") as name,
        ChildPeer(DataFolder(Path(name) / "coordinator"), *options) as child,
        workers(child.wait_for("ready").bootstrap[0]),
    ):
        wait_for_workers(child)
        view = follow(child, submit(Path(name), child.folder.path))
        chunks, most_mib = sum(view.chunks.values()), resident_mib(child.pid, "VmHWM")
        print(f"{view.state}: {view.items_done:,} items in {chunks:,} chunks, {view.elapsed_s:.1f} s")
        print(f"{chunks / view.elapsed_s:.0f} chunks/s; most memory of the coordinator {most_mib:.0f} MiB")


if __name__ == "__main__":
    main()
