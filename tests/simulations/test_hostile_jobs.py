"""Many seeds of small jobs among liars over the shipped job machine: what must hold in every one of them.

Each seed draws a policy, a population with fewer liars than honest workers, peers that vanish and results that
come twice. No network: some hundred jobs a second, so that rare orders of events come up.
"""

from collections import Counter
from random import Random

import pytest

from protocol.adaptive import parse_policy
from protocol.ids import ChunkId, PeerId
from protocol.job_events import Effect, Event, LieCaught, Pay, Piece, ResultArrived, WorkerLost
from simulations.experiments.behaviours import HONEST, Behaviour, Rate, Sleeps
from simulations.experiments.one_job import ITEM_S, JobTally, OneJob, right_key

POLICIES = ("audit:0.1", "audit:0.5", "audit:1", "quorum:2", "quorum:3", "quorum:4", "none", "adaptive")
TICK_S = 0.001


class HostileJob(OneJob):
    """A job whose workers vanish and repeat themselves, and that is watched."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.policy = self.random.choice(POLICIES)
        workers = self.random.randint(6, 14)
        liars = self.random.randint(0, workers // 2 - 2)
        self.can_audit = self.random.random() < 0.7
        self.trouble = self.random.choice((0.0, 0.05, 0.2))
        self.now = 0.0
        self.banned: set[PeerId] = set()
        self.paid: Counter[tuple[PeerId, ChunkId]] = Counter()
        behaviours = [self._liar() if number < liars else HONEST for number in range(workers)]
        self.random.shuffle(behaviours)
        policy = parse_policy(self.policy)
        super().__init__(policy, behaviours, self.random.randint(1, 60), self.random, can_audit=self.can_audit)

    def play(self) -> JobTally:
        return self.run(whitewash=self.can_audit and self.random.random() < 0.5)

    def unpaid(self) -> list[ChunkId]:
        """Chunks whose accepted result came from somebody who was neither paid for it nor banned."""
        chunks = {chunk for _, chunk in self.paid}
        due = (one for one in self._settled.values() if one.source is not None and one.source not in self.banned)
        return [one.piece.chunk for one in due if one.piece.chunk not in chunks]

    def _liar(self) -> Behaviour:
        return self.random.choice([Rate(self.random.random()), Sleeps(self.random.randint(0, 6))])

    def _tell(self, event: Event) -> None:
        self.now += TICK_S
        for effect in self._machine.handle(event, self.now):
            self._carry_out(effect)
        self._machine.check_invariants()

    def _answer(self, peer: PeerId, piece: Piece) -> None:
        if self.random.random() < self.trouble:
            self._busy = [one for one in self._busy if one[0] != peer]
            self._tell(WorkerLost(peer, "gone"))
            self._join(self._newcomer(self.members[peer].behaviour))
            return
        super()._answer(peer, piece)
        if self.random.random() < self.trouble:
            self._tell(ResultArrived(peer, piece.chunk, right_key(piece), ITEM_S))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case LieCaught(peer):
                self.banned.add(peer)
            case Pay(peer, chunks):
                self.paid.update((peer, chunk) for chunk in chunks)
        super()._carry_out(effect)


def check(seed: int) -> None:
    job = HostileJob(seed)
    tally = job.play()
    honest = {peer for peer, member in job.members.items() if member.behaviour == HONEST}
    assert not job.unpaid(), seed
    assert not {peer for peer, _ in job.paid} & job.banned, f"seed {seed}: a liar was paid"
    assert max(job.paid.values(), default=1) == 1, f"seed {seed}: paid twice"
    if job.can_audit:
        assert not honest & job.banned, f"seed {seed}: an honest peer was banned"
        assert tally.wrong == 0 or job.policy != "audit:1", seed


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_some_hundred_hostile_jobs(first: int) -> None:
    for seed in range(first, first + 100):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1_000, 4_000, 500))
def test_thousands_of_hostile_jobs(first: int) -> None:
    for seed in range(first, first + 500):
        check(seed)
