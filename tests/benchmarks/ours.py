"""Two worker peers as processes of their own (`peer start`), and a coordinator in this process, over loopback.

Everything is as it is shipped: Noise, Yamux, signatures, commitments, the sandbox.
"""

import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import trio

from cli.child import ChildPeer
from dht.directory import Directory
from dht.service import DhtService
from peer.addresses import parse_bootstrap
from peer.coordinator import Coordinator
from peer.data_folder import DataFolder
from peer.execution.executor import SandboxedExecutor
from peer.identity_store import load_or_create_identity
from peer.journal import Journal
from peer.libp2p_host import open_libp2p_host
from peer.seam import Seam
from peer.views import JobRequest
from peer.witness import NoWitness
from protocol.messages.dht import Contact

DOUBLE = "def run(item):\n    return item * 2\n"
LISTEN = "/ip4/127.0.0.1/tcp/0"
WORKERS = 2
FIND_TIMEOUT_S = 60.0


@asynccontextmanager
async def open_network(
    workers: int = WORKERS, options_of: Callable[[int], list[str]] = lambda _: [], pids: list[int] | None = None
) -> AsyncIterator[Coordinator]:
    """Worker peers of one slot each, and a coordinator that has found all of them.

    `options_of`: more options for the worker of that number; `pids` is given the process of each.
    """
    with tempfile.TemporaryDirectory(prefix="pp-") as folder, ExitStack() as stack:
        bootstrap: list[str] = []
        for number in range(workers):
            options = ["--listen", LISTEN, "--slots", "1", *options_of(number)]
            for address in bootstrap:
                options += ["--bootstrap", address]
            child = stack.enter_context(ChildPeer(DataFolder(Path(folder) / f"worker{number}"), *options))
            if pids is not None:
                pids.append(child.pid)
            bootstrap += await trio.to_thread.run_sync(lambda: child.wait_for("ready").bootstrap)  # noqa: B023
        async with _open_coordinator(Path(folder) / "coordinator", bootstrap, workers) as coordinator:
            yield coordinator


@asynccontextmanager
async def _open_coordinator(path: Path, bootstrap: list[str], workers: int) -> AsyncIterator[Coordinator]:
    entropy = random.SystemRandom()
    folder = DataFolder(path)
    folder.create()
    identity = load_or_create_identity(folder.key, entropy)
    with closing(Journal.open(folder.journal)) as journal:
        async with open_libp2p_host(identity, [LISTEN]) as host:
            seam = Seam(identity, host, time.time, entropy, SandboxedExecutor(), folder.path)
            dht = DhtService(host, identity=identity, random=entropy, wall_clock=time.time)
            directory = Directory(dht, identity, random=entropy, wall_clock=time.time)
            coordinator = Coordinator(seam, directory, journal, NoWitness())
            async with trio.open_nursery() as nursery:
                await nursery.start(dht.run)
                await nursery.start(coordinator.run)
                given = [parse_bootstrap(address) for address in bootstrap]
                await dht.bootstrap([Contact(peer=peer, addresses=(address,)) for peer, address in given])
                with trio.fail_after(FIND_TIMEOUT_S):
                    while len(await directory.all_peers(workers)) < workers:  # noqa: ASYNC110 - it is asked, it does not tell
                        await trio.sleep(0.2)
                yield coordinator
                nursery.cancel_scope.cancel()


def request(verify: str, code: str = DOUBLE, items: list[object] | None = None) -> JobRequest:
    """A job for the two workers alone."""
    return JobRequest(name="job.py", code=code, items=items or [], verify=verify, local=0, worker_wait_s=60.0)
