"""What goes on of a lease whose coordinator has vanished: the chunks that run are run to their end."""

from collections.abc import Iterable

from protocol.ids import ChunkId
from protocol.messages.kept import KeptChunk
from protocol.unsettled import StillRuns
from protocol.worker_lease import Lease


class Orphan:
    """What still runs of a lease whose coordinator has vanished: a chunk on each of some of its slots."""

    def __init__(self, lease: Lease, running: Iterable[StillRuns]) -> None:
        self.terms = lease.terms
        self.answers = lease.answers
        self.compute_s = lease.compute_s
        """For the results of the lease, before and after its coordinator had vanished."""
        self.running = {one.slot: one for one in running}

    @property
    def cores(self) -> int:
        """Of the worker, that what runs holds."""
        return self.terms.cores * len(self.running) // self.terms.slots

    @property
    def memory_bytes(self) -> int:
        """That what runs holds."""
        return self.terms.memory_bytes * len(self.running) // self.terms.slots

    def slot_of(self, chunk: ChunkId) -> int | None:
        """The slot that runs the chunk; None where none does."""
        return next((slot for slot, one in self.running.items() if one.chunk == chunk), None)

    def offers(self) -> list[KeptChunk]:
        """What runs, as its coordinator is told of it."""
        terms = self.terms
        return [
            KeptChunk(
                lease=terms.lease,
                chunk=one.chunk,
                handed_out=one.handed_out,
                input=one.input,
                environment=terms.environment,
                running=True,
            )
            for one in self.running.values()
        ]
