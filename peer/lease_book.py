"""The leases that jobs have given: written down, so that after a kill it is known who had one at that moment.

What a worker has kept counts for those leases alone. One that ended while this peer lived is taken out: its chunks went
to others then, and who could bring their results later could collect chunks that its accomplice has as well.
"""

from dataclasses import dataclass

from peer.journal import Journal
from protocol.ids import JobId, LeaseId, PeerId


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease, its worker, and the terms on which it works."""

    lease: LeaseId
    peer: PeerId
    price: float
    speed: float


class LeaseBook:
    """Of all jobs that can go on after a restart. Every method raises `LocalError` when the journal fails."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, job: JobId, held: HeldLease) -> None:
        """The lease is about to be given."""
        with self._journal.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
                (job, held.lease, held.peer, held.price, held.speed),
            )

    def end(self, job: JobId, lease: LeaseId) -> None:
        """It has ended: its chunks go to others."""
        with self._journal.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE job = ? AND lease = ?", (job, lease))

    def of(self, job: JobId) -> dict[LeaseId, HeldLease]:
        """Those that had not ended when a run of the job was cut off."""
        rows = self._journal.read("SELECT lease, peer, price, speed FROM leases WHERE job = ?", job)
        return {LeaseId(lease): HeldLease(LeaseId(lease), PeerId(peer), *terms) for lease, peer, *terms in rows}

    def forget(self, job: JobId) -> None:
        """The job has come to its end."""
        with self._journal.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE job = ?", (job,))
