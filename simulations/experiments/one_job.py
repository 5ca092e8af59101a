"""One job over the shipped `JobMachine`, with workers who answer in random order and liars who agree.

No network: the machine gets the events that drivers would feed it, and its audits are executed
right. Chunks have one item each. A worker that is dismissed as a liar may come back under a new name.
"""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from protocol.adaptive import Adaptive
from protocol.errors import LocalError
from protocol.ids import PeerId, digest
from protocol.job_events import (
    AssignChunks,
    AuditDone,
    CancelReplicas,
    Dismiss,
    Effect,
    Ending,
    Event,
    ItemsAdded,
    ItemsClosed,
    JobEnded,
    LieCaught,
    Piece,
    RecallAudit,
    ResultArrived,
    Revoked,
    RunAudit,
    Settled,
    WorkerReady,
)
from protocol.job_machine import JobMachine, JobRules
from protocol.planner import DEFAULT_TARGET, error_bound
from protocol.verification import VerificationPolicy

ITEM_S = 1.0
"""As long as a chunk may take, so that the machine cuts chunks of one item."""
ITEM_BYTES = 10


class Behaviour(Protocol):
    """How a worker behaves."""

    def lies(self, done: int, plot: float) -> bool:
        """Whether it lies in its next chunk, after so many chunks under its present name.

        `plot` belongs to the chunk and is known to all liars, who so lie in the same chunks.
        """


@dataclass(frozen=True, slots=True)
class Rate:
    """Lies in a share of the chunks; an honest worker lies in none."""

    rate: float = 0.0

    def lies(self, done: int, plot: float) -> bool:
        """Together with the other liars."""
        return plot < self.rate


HONEST = Rate()


@dataclass(frozen=True, slots=True)
class Sleeps:
    """Honest for so many chunks under each name, then lies in all."""

    chunks: int = 10

    def lies(self, done: int, plot: float) -> bool:
        """By its own count."""
        return done >= self.chunks


@dataclass(frozen=True, slots=True)
class JobTally:
    """What a job came to."""

    items: int
    executions: int
    """By workers, wasted ones among them, and by the coordinator."""
    own_executions: int
    wrong: int
    """Wrong results among those that counted in the end."""
    revoked: int
    caught: int
    bound: float = 0.0
    """The share of wrong results that the job's own report allows for."""
    promised: bool = False
    """Whether the plan, with all workers there, promised the target."""

    @property
    def overhead(self) -> float:
        """Executions per item."""
        return self.executions / self.items

    @property
    def error(self) -> float:
        """Share of wrong results."""
        return self.wrong / self.items


class OneJob:
    """See the module."""

    def __init__(
        self,
        policy: VerificationPolicy,
        behaviours: list[Behaviour],
        items: int,
        random: Random,
        *,
        can_audit: bool = True,
    ) -> None:
        target = policy.target if isinstance(policy, Adaptive) else DEFAULT_TARGET
        self._machine = JobMachine(JobRules(policy, can_audit=can_audit, target=target), Random(random.random()))
        self._now = 0.0
        self._behaviours: dict[PeerId, Behaviour] = {}
        self._newcomers = list(behaviours)
        self._items = items
        self._random = random
        self._plots = [random.random() for _ in range(items)]
        self._busy: list[tuple[PeerId, Piece]] = []
        self._audits: list[Piece] = []
        self._done: dict[PeerId, int] = {}
        self._settled: dict[int, Settled] = {}
        self._executions = self._own = self._revoked = self._caught = self._names = 0
        self._returns: list[Behaviour] = []
        self._ended: JobEnded | None = None

    def run(self, *, whitewash: bool) -> JobTally:
        """Run the job to its end; `whitewash`: who is caught comes back under a new name at once.

        Raises `LocalError` when the job does not end well, which no verdict about liars may cause.
        """
        self._tell(ItemsAdded((ITEM_BYTES,) * self._items))
        self._tell(ItemsClosed())
        for behaviour in self._newcomers:
            self._join(behaviour)
        self._promised = not self._machine.forecast()[1]
        while self._ended is None:
            self._step()
            while whitewash and self._returns:
                self._join(self._returns.pop())
        if self._ended.ending is not Ending.DONE or len(self._settled) != self._items:
            raise LocalError(f"the job ended as {self._ended.ending}: {self._ended.reason}")
        wrong = sum(one.key != right_key(one.piece) for one in self._settled.values())
        executions = self._executions + self._own
        checked = self._machine.checked
        bound = error_bound(self._machine.rules.target, checked) if checked else 0.0
        return JobTally(self._items, executions, self._own, wrong, self._revoked, self._caught, bound, self._promised)

    def _join(self, behaviour: Behaviour) -> None:
        self._names += 1
        peer = PeerId(f"worker-{self._names}")
        self._behaviours[peer] = behaviour
        self._done[peer] = 0
        self._tell(WorkerReady(peer, 1, 1, price=1.0, speed=1.0))

    def _step(self) -> None:
        if self._audits:
            piece = self._audits.pop()
            self._own += 1
            self._tell(AuditDone(piece.chunk, right_key(piece), ITEM_S))
        elif self._busy:
            index = self._random.randrange(len(self._busy))
            self._busy[index], self._busy[-1] = self._busy[-1], self._busy[index]
            self._answer(*self._busy.pop())
        else:
            raise LocalError("a job that waits for nobody")

    def _answer(self, peer: PeerId, piece: Piece) -> None:
        lie = self._behaviours[peer].lies(self._done[peer], self._plots[piece.start])
        self._done[peer] += 1
        self._now += ITEM_S / max(1, len(self._machine.workers.active))
        self._executions += 1
        self._tell(ResultArrived(peer, piece.chunk, wrong_key(piece) if lie else right_key(piece), ITEM_S))

    def _tell(self, event: Event) -> None:
        for effect in self._machine.handle(event, self._now):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AssignChunks(peer, pieces):
                self._busy += [(peer, piece) for piece in pieces]
            case CancelReplicas(peer, chunks):
                self._busy = [one for one in self._busy if one[0] != peer or one[1].chunk not in chunks]
            case Dismiss(peer):
                self._busy = [one for one in self._busy if one[0] != peer]
                self._returns.append(self._behaviours[peer])
            case RunAudit(piece):
                self._audits.append(piece)
            case RecallAudit(chunk):
                self._audits = [piece for piece in self._audits if piece.chunk != chunk]
            case Settled(piece):
                self._settled[piece.start] = effect
            case Revoked(piece):
                del self._settled[piece.start]
                self._revoked += 1
            case LieCaught():
                self._caught += 1
            case JobEnded():
                self._ended = effect
            case _:
                pass


def right_key(piece: Piece) -> bytes:
    """What an honest worker, or the coordinator, finds."""
    return digest(f"right {piece.start}".encode())


def wrong_key(piece: Piece) -> bytes:
    """What all liars say."""
    return digest(f"wrong {piece.start}".encode())
