"""What room the coordinator has for audits, and which results that count already it audits next (DESIGN section 8).

A share of the submitter's own slots, as the user says; and of the executions, what the overhead cap leaves. Disputes
count against the room but need not wait for it. Background audits are drawn from all unaudited results alike, long
after they were committed, so that nobody can tell beforehand which will be looked at.
"""

from itertools import islice
from random import Random

from protocol.chunk import Chunk, ChunkState
from protocol.ids import ChunkId
from protocol.planner import Target, audit_share_max
from protocol.scheduling import Estimate

_UNAUDITED = (ChunkState.VOTED, ChunkState.TRUSTED)


class AuditRoom:
    """The budget of one job and the results that count without an audit. Nothing is audited before `start`."""

    def __init__(self, target: Target, slots: int, estimate: Estimate, random: Random) -> None:
        self._target = target
        self._slots = max(1, slots)
        self._estimate = estimate
        self._random = random
        self._started_at: float | None = None
        self._used_s = 0.0
        self._drawn = 0
        self._settled = 0
        self._unaudited: dict[ChunkId, Chunk] = {}

    def start(self, now: float) -> None:
        """The job begins; later calls change nothing."""
        if self._started_at is None:
            self._started_at = now

    def spend(self, compute_s: float) -> None:
        """An execution for an audit or a dispute took so long."""
        self._used_s += compute_s

    def expected(self, chunks: int, slots: int) -> float:
        """About how many audits there is room for while so many slots work on a job of so many chunks."""
        return self._target.audit_share * self._slots * chunks / max(1, slots)

    def opens_at(self, items: int, pending: int = 0) -> float:
        """When an audit of so many items fits in, after `pending` others like it; infinity where none ever does."""
        item_s, share = self._estimate.item_s, self._target.audit_share
        if self._started_at is None or item_s is None or share <= 0:
            return float("inf")
        return self._started_at + (self._used_s + (pending + 1) * items * item_s) / (share * self._slots)

    # Results that count already.

    def add(self, chunk: Chunk) -> None:
        """It counts without an audit."""
        self._settled += chunk.id not in self._unaudited
        self._unaudited[chunk.id] = chunk

    def forget_all(self) -> None:
        """They are final."""
        self._unaudited.clear()

    def next_at(self) -> float:
        """When a result that counts may be audited; infinity where there is none, or the cap leaves no more."""
        if not self._unaudited or self._drawn >= audit_share_max(self._target) * self._settled:
            return float("inf")
        return self.opens_at(next(reversed(self._unaudited.values())).count)

    def draw(self) -> Chunk | None:
        """One of them, each as likely as the others; it is not drawn again unless it is added again."""
        while self._unaudited:
            place = self._random.randrange(len(self._unaudited))
            chunk = self._unaudited.pop(next(islice(self._unaudited, place, None)))
            if chunk.state in _UNAUDITED:
                self._drawn += 1
                return chunk
        return None
