"""What this machine itself has: for the capability record, and for jobs that their submitter works on as well."""

import os
from pathlib import Path

import psutil

from peer.gpus import find_gpus
from peer.seam import Executor
from protocol.limits import CHUNKS_PER_BATCH_MAX
from protocol.requirements import Machine


def own_machine(executor: Executor, folder: Path | None) -> Machine:
    """All of it, whatever its owner offers to others."""
    offers = executor.offers()
    return Machine(
        cores=min(os.cpu_count() or 1, CHUNKS_PER_BATCH_MAX),
        memory_bytes=int(psutil.virtual_memory().total),
        disk_bytes=free_disk_bytes(folder),
        gpus=find_gpus(),
        versions={offer.name: offer.version for offer in offers},
        sandboxes={offer.name: offer.sandbox for offer in offers},
    )


def free_disk_bytes(folder: Path | None) -> int:
    """Free where the peer keeps its files, at this moment; 0 where that cannot be told."""
    try:
        return int(psutil.disk_usage(str(folder or "/")).free)
    except OSError:
        return 0
