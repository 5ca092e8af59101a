"""One job over the shipped `JobMachine`, with workers who answer in random order and liars who agree.

No network: the machine gets the events that drivers would feed it, and its audits are executed
right. Chunks have one item each. A worker that is dismissed as a liar may come back under a new name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

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
from simulations.experiments.behaviours import Behaviour, Chance, Known

ITEM_S = 1.0
"""As long as a chunk may take, so that the machine cuts chunks of one item."""
ITEM_BYTES = 10


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
        behaviours: Sequence[Behaviour],
        items: int,
        random: Random,
        *,
        can_audit: bool = True,
        known: Sequence[Known] = (),
        numbers: Iterator[int] | None = None,
    ) -> None:
        """`behaviours` of newcomers; `known` workers come as they are; newcomers are named by `numbers`."""
        target = policy.target if isinstance(policy, Adaptive) else DEFAULT_TARGET
        self._machine = JobMachine(JobRules(policy, can_audit=can_audit, target=target), Random(random.random()))
        self._now = 0.0
        self.members: dict[PeerId, Known] = {}
        """All that ever took part, under each of their names."""
        self.caught: list[PeerId] = []
        self._numbers = count(1) if numbers is None else numbers
        self._at_start = [*known, *(self._newcomer(one) for one in behaviours)]
        self._items = items
        self._random = random
        self._plots = [random.random() for _ in range(items)]
        self._busy: list[tuple[PeerId, Piece]] = []
        self._audits: list[Piece] = []
        self._ring: dict[int, set[PeerId]] = {}
        self._said: dict[int, bool] = {}
        self._settled: dict[int, Settled] = {}
        self._executions = self._own = self._revoked = 0
        self._whitewash = False
        self._joining: list[Known] = []
        """Those who come, or come back, before anything else happens."""
        self._ended: JobEnded | None = None

    def run(self, *, whitewash: bool) -> JobTally:
        """Run the job to its end; `whitewash`: who is caught comes back under a new name at once.

        Raises `LocalError` when the job does not end well, which no verdict about liars may cause.
        """
        self._tell(ItemsAdded((ITEM_BYTES,) * self._items))
        self._tell(ItemsClosed())
        for member in self._at_start:
            self._join(member)
        self._promised = not self._machine.forecast()[1]
        self._whitewash = whitewash
        while self._ended is None:
            self._step()
            while self._joining:
                self._join(self._joining.pop())
        if self._ended.ending is not Ending.DONE or len(self._settled) != self._items:
            raise LocalError(f"the job ended as {self._ended.ending}: {self._ended.reason}")
        wrong = sum(one.key != right_key(one.piece) for one in self._settled.values())
        executions = self._executions + self._own
        checked = self._machine.checked
        bound = error_bound(self._machine.rules.target, checked) if checked else 0.0
        caught = len(self.caught)
        return JobTally(self._items, executions, self._own, wrong, self._revoked, caught, bound, self._promised)

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the job began."""
        return self._now

    def earned(self, peer: PeerId) -> tuple[float, int]:
        """Clean results that one who was not caught takes along, as the job runner books them, and audits passed."""
        tally = self._machine.workers.tallies.get(peer)
        if tally is None or tally.banned is not None:  # none: it came back as the job ended
            return 0.0, 0
        return tally.clean - tally.clean_before, tally.audits

    def _newcomer(self, behaviour: Behaviour) -> Known:
        return Known(PeerId(f"worker-{next(self._numbers)}"), behaviour)

    def _join(self, member: Known) -> None:
        self.members[member.name] = member
        self._tell(WorkerReady(member.name, 1, 1, price=1.0, speed=1.0, clean=member.clean))

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
        key = self._key(self.members[peer], piece)
        self._now += ITEM_S / max(1, len(self._machine.workers.active))
        self._executions += 1
        self._tell(ResultArrived(peer, piece.chunk, key, ITEM_S))

    def _key(self, member: Known, piece: Piece) -> bytes:
        """What the worker says; a ring remembers it."""
        behaviour, item = member.behaviour, piece.start
        company = len(self._ring.get(item, ())) > 1
        lie = behaviour.lies(Chance(member.done, self._plots[item], company, self._said.get(item)))
        member.done += 1
        if behaviour.in_ring:
            self._said.setdefault(item, lie)
        return wrong_key(piece, member.name if behaviour.own_word else "") if lie else right_key(piece)

    def _given(self, peer: PeerId, piece: Piece) -> None:
        self._busy.append((peer, piece))
        if self.members[peer].behaviour.in_ring:
            self._ring.setdefault(piece.start, set()).add(peer)

    def _tell(self, event: Event) -> None:
        for effect in self._machine.handle(event, self._now):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AssignChunks(peer, pieces):
                for piece in pieces:
                    self._given(peer, piece)
            case CancelReplicas(peer, chunks):
                self._busy = [one for one in self._busy if one[0] != peer or one[1].chunk not in chunks]
            case Dismiss(peer):
                self._busy = [one for one in self._busy if one[0] != peer]
                if self._whitewash:
                    self._joining.append(self._newcomer(self.members[peer].behaviour))
            case RunAudit(piece):
                self._audits.append(piece)
            case RecallAudit(chunk):
                self._audits = [piece for piece in self._audits if piece.chunk != chunk]
            case Settled(piece):
                self._settled[piece.start] = effect
            case Revoked(piece):
                del self._settled[piece.start]
                self._revoked += 1
            case LieCaught(peer):
                self.caught.append(peer)
            case JobEnded():
                self._ended = effect
            case _:
                pass


def right_key(piece: Piece) -> bytes:
    """What an honest worker, or the coordinator, finds."""
    return digest(f"right {piece.start}".encode())


def wrong_key(piece: Piece, own_word: str = "") -> bytes:
    """What all liars say, but for those who have a word of their own."""
    return digest(f"wrong {piece.start} {own_word}".encode())
