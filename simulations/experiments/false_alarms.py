"""Is an honest peer ever banned? Many chunks over the shipped job machine with the exact comparator.

Workers vanish and come back, some are slow and are hedged, some results come twice, and in part of the jobs liars
accuse the honest by voting against them.
"""

from dataclasses import dataclass
from random import Random

from protocol.adaptive import Adaptive
from protocol.ids import PeerId
from protocol.job_events import Dismiss, Effect, Piece, ResultArrived, WorkerLost
from protocol.planner import Target
from protocol.verification import Audit, Quorum, VerificationPolicy
from simulations.experiments.behaviours import HONEST, Behaviour, Known, Rate
from simulations.experiments.one_job import ITEM_S, JobTally, OneJob, right_key
from simulations.experiments.outcome import Line, Outcome
from simulations.experiments.series import Series

WORKERS = 10
LIARS = 2
LIE_RATE = 0.05
LOSS, TWICE = 0.01, 0.01
"""How often, instead of answering, a worker vanishes; and how often a result comes twice."""
SLOW = 2
SLOW_PASSES = 0.9
"""Of so many workers, how often the turn to answer goes to another instead."""
CHUNKS_QUICK, CHUNKS_FULL = 20_000, 1_000_000
JOB_CHUNKS_MAX = 5_000
SHARES: tuple[tuple[VerificationPolicy, bool, float], ...] = (
    (Adaptive(Target(max_error=0.01)), False, 0.4),
    (Adaptive(Target(max_error=0.001)), False, 0.2),
    (Adaptive(Target(max_error=0.01)), True, 0.2),
    (Quorum(2), True, 0.1),
    (Audit(0.1), True, 0.1),
)
"""Policy, whether there are liars, and the share of the chunks."""


class TroubledJob(OneJob):
    """A job in which workers vanish, straggle and repeat themselves."""

    losses = silent = 0

    def _step(self) -> None:
        """A slow worker's answer waits while others give theirs."""
        if not self._audits and len(self._busy) > 1:
            place = self._random.randrange(len(self._busy))
            if self._slow(self._busy[place][0]) and self._random.random() < SLOW_PASSES:
                faster = [one for one, (peer, _) in enumerate(self._busy) if not self._slow(peer)]
                place = self._random.choice(faster) if faster else place
            self._busy[place], self._busy[-1] = self._busy[-1], self._busy[place]
            self._answer(*self._busy.pop())
        else:
            super()._step()

    def _slow(self, peer: PeerId) -> bool:
        return int(peer.removeprefix("worker-")) % (WORKERS // SLOW) == 0

    def _answer(self, peer: PeerId, piece: Piece) -> None:
        if self._random.random() < LOSS:
            self.losses += 1
            self._tell(WorkerLost(peer, "gone"))
            self._come_back(peer)
            return
        super()._answer(peer, piece)
        if self._random.random() < TWICE:
            self._tell(ResultArrived(peer, piece.chunk, right_key(piece), ITEM_S))

    def _carry_out(self, effect: Effect) -> None:
        """Who was let go for its silence comes back under its own name; who was caught may do so under a new one."""
        if isinstance(effect, Dismiss) and effect.reason != "caught lying":
            self.silent += 1
            self._come_back(effect.peer)
        else:
            super()._carry_out(effect)

    def _come_back(self, peer: PeerId) -> None:
        self._busy = [one for one in self._busy if one[0] != peer]
        member = self.members[peer]
        self._joining.append(Known(member.name, member.behaviour, member.clean, member.done))


@dataclass(slots=True)
class Alarms:
    """What many jobs came to."""

    chunks: int = 0
    executions: int = 0
    honest_banned: int = 0
    liars_banned: int = 0
    losses: int = 0
    silent: int = 0

    def add(self, tally: JobTally, job: TroubledJob) -> None:
        """One more job."""
        self.chunks += tally.items
        self.executions += tally.executions
        honest = sum(job.members[peer].behaviour == HONEST for peer in job.caught)
        self.honest_banned += honest
        self.liars_banned += tally.caught - honest
        self.losses += job.losses
        self.silent += job.silent


def run(quick: bool) -> Outcome:
    """20,000 chunks when quick, else a million."""
    chunks = CHUNKS_QUICK if quick else CHUNKS_FULL
    lines, all_chunks, all_banned = list[Line](), 0, 0
    for number, (policy, liars, share) in enumerate(SHARES):
        found = measure(policy, round(share * chunks), Random(number), liars=liars)
        label = f"{policy.name}{_target(policy)}{', a fifth lie' if liars else ''}"
        lines += _lines(label, found, liars=liars)
        all_chunks += found.chunks
        all_banned += found.honest_banned
    lines.append(Line("all: honest peers banned", all_banned, 0.0))
    lines.append(Line("all: chunks", all_chunks, chunks, 0.0))
    notes = (
        f"{WORKERS} workers, jobs of at most {JOB_CHUNKS_MAX:,} chunks, what was earned carries over. {LOSS:.0%} of "
        f"the answers are losses of their worker instead, {TWICE:.0%} come twice; {SLOW} workers are slow, so that "
        "others get their chunks too and some of them are let go for their silence. Where a fifth lie, they do so "
        f"together in {LIE_RATE:.0%} of the chunks and come back under new names.",
        f"No ban in so many chunks: with 95 % confidence, less than one in {all_chunks / 3:,.0f}.",
    )
    return Outcome("false_alarms", "honest peers banned by the shipped rules", tuple(lines), notes)


def measure(policy: VerificationPolicy, chunks: int, random: Random, *, liars: bool) -> Alarms:
    """A series of jobs with so many chunks in all."""
    found = Alarms()
    behaviours: list[Behaviour] = [Rate(LIE_RATE) if liars and one < LIARS else HONEST for one in range(WORKERS)]
    series = Series(policy, behaviours, random, whitewash=liars, job=TroubledJob)
    while found.chunks < chunks:
        tally = series.run(min(JOB_CHUNKS_MAX, chunks - found.chunks))
        assert isinstance(series.last, TroubledJob)
        found.add(tally, series.last)
    return found


def _lines(label: str, found: Alarms, *, liars: bool) -> list[Line]:
    lines = [
        Line(f"{label}: honest peers banned", found.honest_banned, 0.0),
        Line(f"{label}: chunks", found.chunks),
        Line(f"{label}: executions", found.executions),
        Line(f"{label}: workers lost", found.losses),
        Line(f"{label}: workers let go for their silence", found.silent),
    ]
    return [*lines, Line(f"{label}: liars banned", found.liars_banned)] if liars else lines


def _target(policy: VerificationPolicy) -> str:
    return f" {policy.target.max_error:g}" if isinstance(policy, Adaptive) else ""
