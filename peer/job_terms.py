"""What the workers of a job have to do with it: its terms, and the job as they know it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from peer.hand_over import CheckedResult
from peer.trust_book import TrustBook
from peer.views import JobRequest
from protocol.capability import Capability
from protocol.ids import ChunkId, JobId, PeerId
from protocol.job_events import Event
from protocol.messages.job import Call
from protocol.requirements import Requirements, lacks
from protocol.signing import Envelope


class PoolOwner(Protocol):
    """The job that the workers work for."""

    def tell(self, event: Event) -> None:
        """Something happened to a worker."""

    def on_checked_result(self, peer: PeerId, result: CheckedResult) -> None:
        """A result whose commitment and form are right."""

    def on_log(self, peer: PeerId, chunk: ChunkId, text: bytes) -> None:
        """Output of a chunk."""

    def note(self, line: str) -> None:
        """A line for the job's story."""


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What the auction needs to know of the job."""

    job: JobId
    manifest: Envelope
    """What workers must know of the job, signed."""
    request: JobRequest
    slots_wanted: int
    trust: TrustBook
    on_stranger: Callable[[PeerId], None]
    """Told of workers that nothing is known of."""
    needs: Requirements

    def missing(self, record: Capability) -> list[str]:
        """What the peer of this record lacks for the job."""
        if not record.slots:
            return ["its owner's leave to work now"]
        memory_bytes, runtime = self.request.memory_bytes_max, self.request.runtime
        missing = list(lacks(self.needs, memory_bytes, runtime, record.machine()))
        if self.request.paired_only and not self.trust.is_paired(record.peer):
            missing.append("your pairing")
        return missing

    def call(self, call_id: int, *, takes_kept: bool) -> Call:
        """The call for bids."""
        return Call(
            call_id=call_id,
            job=self.job,
            runtime=self.request.runtime,
            slots_wanted=self.slots_wanted,
            memory_bytes=self.request.memory_bytes_max,
            chunk_count=len(self.request.items),
            price_max=self.request.price_max,
            deadline_s=self.request.deadline_s or 0.0,
            needs=self.needs,
            takes_kept=takes_kept,
        )
