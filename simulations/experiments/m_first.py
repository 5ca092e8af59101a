"""T1: M-first voting against liars who agree, by the shipped quorum and majority rules, beside F1 and F2.

Where the coordinator cannot execute a chunk itself, the shipped `quorum:M` asks for one more result at each
disagreement until one value has M results and more than half: with liars who all agree that is M-first. Where
it can, a disagreement is settled by its own execution, and only M lies in a row are accepted.
"""

from dataclasses import dataclass
from random import Random

from protocol.chunk import Vote
from protocol.ids import PeerId, digest
from protocol.verification import AcceptVoted, Disputed, Quorum, majority
from simulations.experiments.outcome import Line, Outcome
from simulations.formulas import least_m, m_first_error, m_first_executions, m_majority_error, unanimous_error

LYING = 0.35
EXPECTED = {0.05: 15, 0.01: 29, 0.001: 51}
"""Target error: the least M. The source says "over 50" for the last."""
RIGHT, WRONG = digest(b"right"), digest(b"wrong")
CHUNKS_QUICK = 4_000
CHUNKS_FULL = 20_000
SIGMAS = 4.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Of so many chunks: accepted lies per chunk, executions per chunk."""

    error: float
    executions: float


def run(quick: bool) -> Outcome:
    """The least M by formula, then the shipped rules at these M; the quick form leaves out the largest."""
    chunks = CHUNKS_QUICK if quick else CHUNKS_FULL
    lines = []
    for target, m in EXPECTED.items():
        lines.append(Line(f"least M for an error of {target}, F2", least_m(target, LYING, m_first_error), m))
        lines.append(Line(f"least M for an error of {target}, F1", least_m(target, LYING, m_majority_error), m))
    for m in (2, 3, *EXPECTED.values()) if not quick else (2, 3, EXPECTED[0.05]):
        lines += _simulated(m, chunks)
    for target in EXPECTED:
        ours = least_m(target, LYING, unanimous_error)
        lines.append(Line(f"least M for an error of {target}, disputes executed here", ours))
    lines += _executed_here(chunks)
    notes = (
        "F1 and F2 are the same sum: the first to M is also the majority of 2M-1.",
        "Liars are drawn anew for each result, as in the formulas: nobody is banned. T4 has the memory.",
        "`quorum:N` accepts N up to 16 on the command line; larger M are measured through the rule itself.",
    )
    return Outcome("t1", "colluding liars against M-first, f = 0.35", tuple(lines), notes)


def measure(m: int, lying: float, chunks: int, *, can_audit: bool, seed: int = 1) -> Tally:
    """Chunks judged by the shipped rules; an execution by the coordinator counts as one of the executions."""
    random = Random(seed)
    wrong = executions = 0
    for _ in range(chunks):
        key, used = _judge(Quorum(m), lying, can_audit, random)
        wrong += key == WRONG
        executions += used
    return Tally(wrong / chunks, executions / chunks)


def _judge(policy: Quorum, lying: float, can_audit: bool, random: Random) -> tuple[bytes, int]:
    """One chunk: its accepted key and its executions, as the court of a job does it."""
    votes: list[Vote] = []
    while True:
        votes.append(_vote(len(votes), lying, random))
        verdict = policy.judge(votes)
        if isinstance(verdict, AcceptVoted):
            return verdict.key, len(votes)
        if isinstance(verdict, Disputed):
            if can_audit:
                return RIGHT, len(votes) + 1
            key = majority(votes, max(2, policy.replicas))
            if key is not None:
                return key, len(votes)


def _vote(number: int, lying: float, random: Random) -> Vote:
    return Vote(PeerId(f"worker-{number}"), WRONG if random.random() < lying else RIGHT, 1.0)


def _simulated(m: int, chunks: int) -> list[Line]:
    measured = measure(m, LYING, chunks, can_audit=False)
    error = m_first_error(m, LYING)
    deviation = (error * (1 - error) / chunks) ** 0.5
    return [
        Line(f"M={m}, error of the shipped votes against F2", measured.error, error, SIGMAS * deviation),
        Line(f"M={m}, executions per chunk", measured.executions, m_first_executions(m, LYING), 0.02 * 2 * m),
    ]


def _executed_here(chunks: int) -> list[Line]:
    lines = []
    for m in (2, 3):
        measured = measure(m, LYING, chunks, can_audit=True)
        error = unanimous_error(m, LYING)
        within = SIGMAS * (error * (1 - error) / chunks) ** 0.5
        lines.append(Line(f"M={m}, disputes executed here, error", measured.error, error, within))
        lines.append(Line(f"M={m}, disputes executed here, executions per chunk", measured.executions))
    return lines
