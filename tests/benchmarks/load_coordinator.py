"""A whole peer as it is shipped, but that it knows its workers from a file: `load_coordinator.py FOLDER WORKERS_FILE`.

Prints a line when its control API answers; ends with its input.
"""

import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import trio

from peer.coordinator import Coordinator
from peer.core import NodeSettings
from peer.data_folder import DataFolder
from peer.execution.executor import SandboxedExecutor
from peer.execution.polite import PoliteExecutor
from peer.identity_store import load_or_create_identity
from peer.journal import Journal
from peer.libp2p_host import open_libp2p_host
from peer.node import Node
from peer.owner_settings import OwnerSettings
from peer.owner_side import OwnerSide, in_words, rules_of
from peer.presence import MachineSenses
from peer.seam import Seam
from peer.witness import NoWitness
from protocol.capability import Capability, RuntimeOffer
from protocol.network import Host
from protocol.worker_policy import WorkerPolicy

LISTEN = "/ip4/127.0.0.1/tcp/0"
OFFER = RuntimeOffer(name="python", version="3.11", sandbox="none")


class KnownWorkers:
    """Stands in for the directory."""

    def __init__(self, host: Host, records: Sequence[Capability]) -> None:
        self._host = host
        self._records = records

    async def find(self, runtime: str, wanted: int) -> list[Capability]:
        """All of them."""
        for one in self._records:
            self._host.add_addresses(one.peer, one.addresses)
        return list(self._records[:wanted])


def records_in(file: Path) -> list[Capability]:
    """The workers that `light_workers.py` told of."""
    expires = time.time() + 3600
    return [
        Capability(sequence=1, expires_at_unix_s=expires, runtimes=(OFFER,), slots=1, peer=one["peer"],
                   addresses=tuple(one["addresses"]))
        for one in map(json.loads, file.read_text().splitlines())
    ]  # fmt: skip


def easy_owner() -> OwnerSide:
    """One who allows everything."""
    polite, settings = PoliteExecutor(SandboxedExecutor(), niceness=0, max_cpu=1.0), OwnerSettings()
    senses = MachineSenses(watch_use=False, watch_load=False)
    rules, words = rules_of(settings), in_words(settings)
    return OwnerSide(
        executor=polite, hold_back=polite.run, senses=senses, rules=rules, accept=settings.accept, in_words=words
    )


async def main(name: str, file: str) -> None:
    """Until the input ends."""
    entropy = random.SystemRandom()
    folder = DataFolder(Path(name))
    folder.create()
    identity = load_or_create_identity(folder.key, entropy)
    settings = NodeSettings(policy=WorkerPolicy(slots=0))
    with closing(Journal.open(folder.journal)) as journal:
        async with open_libp2p_host(identity, [LISTEN]) as host, trio.open_nursery() as nursery:
            seam = Seam(identity, host, time.time, entropy, SandboxedExecutor(), folder.path)
            node = Node(seam, settings, folder, journal, lambda event: None, easy_owner())
            known = KnownWorkers(host, records_in(Path(file)))
            node.coordinator = Coordinator(seam, known, journal, NoWitness())  # type: ignore[arg-type]
            await nursery.start(node.run)
            print("ready", flush=True)
            await trio.lowlevel.wait_readable(sys.stdin.fileno())
            os._exit(0)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
