"""One coordinator with 200 workers and 100,000 chunks: its memory, and whether it still answers its owner.

The coordinator is a whole peer in a process of its own (`load_coordinator.py`), asked by the `peer` command as a person
would. The workers are over loopback libp2p, fifty to a process, and sleep for each chunk instead of computing in a
sandbox (`light_workers.py`); the coordinator knows them from a file, not by the DHT. Items take so long that each is a
chunk. Targets: `peer status` under 1 s all the while.
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

from peer.control_client import ControlClient
from peer.data_folder import DataFolder
from peer.views import JobView

CHUNKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
WORKERS = int(sys.argv[2]) if len(sys.argv) > 2 else 200
PER_PROCESS = 50
ITEM_S = 0.6
"""Above half of the longest chunk, so that no two items share one."""
ASK_INTERVAL_S = 5.0
CODE = "def run(item):\n    return item * 2\n"


@contextmanager
def workers(file: Path) -> Iterator[None]:
    """The processes of all workers, whose ids and addresses are in the file by then."""
    with ExitStack() as stack, file.open("w") as lines:
        for first in range(0, WORKERS, PER_PROCESS):
            number = min(PER_PROCESS, WORKERS - first)
            process = stack.enter_context(started("light_workers.py", str(number), str(ITEM_S)))
            lines.writelines(process.stdout.readline() for _ in range(number))  # type: ignore[union-attr]
        lines.flush()
        yield


@contextmanager
def started(script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """One of the scripts beside this one; it is killed in the end."""
    command = [sys.executable, str(Path(__file__).parent / script), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


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


def follow(folder: DataFolder, pid: int, job: str) -> JobView:
    """Ask for the status again and again until the job has ended; its last view."""
    client = ControlClient(folder.socket())
    commands, answers, shows = [], [], []
    started = time.perf_counter()
    while not (view := timed(shows, lambda: client.job(job))).state.is_final:
        timed(commands, lambda: command(folder.path, "status"))
        timed(answers, client.status)
        working = sum(one.state == "working" for one in view.workers)
        print(
            f"{time.perf_counter() - started:6.0f} s: {view.items_done:,} done, {working} workers, "
            f"{resident_mib(pid):.0f} MiB, `peer status` {commands[-1]:.2f} s, its answer {answers[-1]:.2f} s, "
            f"the job's {shows[-1]:.2f} s",
            flush=True,
        )
        time.sleep(ASK_INTERVAL_S)
    for name, took in (("`peer status`", commands), ("the answer to it", answers), ("the job's view", shows)):
        late = statistics.quantiles(took, n=20, method="inclusive")[-1] if len(took) > 1 else took[0]
        print(
            f"{name}: median {statistics.median(took):.2f} s, 95th percentile {late:.2f} s, "
            f"at most {max(took):.2f} s of {len(took)}"
        )
    return view


def timed(into: list[float], ask):  # type: ignore[no-untyped-def]
    """What `ask` gives; how long it took goes into the list."""
    started = time.perf_counter()
    answer = ask()
    into.append(time.perf_counter() - started)
    return answer


def main() -> None:
    """See above."""
    with tempfile.TemporaryDirectory(prefix="pp-") as name, workers(Path(name) / "workers"):
        folder = DataFolder(Path(name) / "coordinator")
        with started("load_coordinator.py", str(folder.path), str(Path(name) / "workers")) as coordinator:
            assert coordinator.stdout is not None and coordinator.stdout.readline() == "ready\n"
            view = follow(folder, coordinator.pid, submit(Path(name), folder.path))
            chunks, most_mib = sum(view.chunks.values()), resident_mib(coordinator.pid, "VmHWM")
            print(f"{view.state}: {view.items_done:,} items in {chunks:,} chunks, {view.elapsed_s:.1f} s")
            print(f"{chunks / view.elapsed_s:.0f} chunks/s; most memory of the coordinator {most_mib:.0f} MiB")


if __name__ == "__main__":
    main()
