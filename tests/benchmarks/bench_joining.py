"""Two hundred peers that start at once: how many of them the directory has after how long.

Over loopback libp2p, fifty to a process (`joining_peers.py`). Each line is of the first process: how many its
first peer finds, and what all its peers have counted. Usage: bench_joining.py [PEERS] [SECONDS]
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PEERS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
LASTS_S = float(sys.argv[2]) if len(sys.argv) > 2 else 240.0
PER_PROCESS = 50


@contextmanager
def started(*words: str, **where: int) -> Iterator[subprocess.Popen[str]]:
    """A process with some of the peers; it is killed in the end."""
    command = [sys.executable, str(Path(__file__).parent / "joining_peers.py"), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **where) as process:
        try:
            yield process
        finally:
            process.kill()


def main() -> None:
    """See above."""
    begun = time.monotonic()
    with ExitStack() as stack:
        first = stack.enter_context(started(str(min(PER_PROCESS, PEERS)), stdout=subprocess.PIPE))
        assert first.stdout is not None
        entry = first.stdout.readline().strip()
        for number in range(PER_PROCESS, PEERS, PER_PROCESS):
            stack.enter_context(started(str(min(PER_PROCESS, PEERS - number)), entry, stdout=subprocess.DEVNULL))
        while time.monotonic() - begun < LASTS_S:
            print(first.stdout.readline().strip(), flush=True)


if __name__ == "__main__":
    main()
