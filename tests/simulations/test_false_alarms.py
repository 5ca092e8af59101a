"""The experiment sees an honest peer that is banned, and its jobs are as troubled as they say."""

from random import Random

from protocol.ids import PeerId
from protocol.verification import Quorum
from simulations.experiments import one_job
from simulations.experiments.behaviours import HONEST
from simulations.experiments.false_alarms import Alarms, TroubledJob, measure


def test_workers_are_lost_and_let_go_and_nobody_is_banned() -> None:
    found = measure(Quorum(2), 2_000, Random(1), liars=False)
    assert found.chunks == 2_000 and found.executions >= 4_000
    assert found.losses > 10 and found.silent > 10
    assert found.honest_banned == found.liars_banned == 0


def test_liars_are_told_apart_from_the_honest() -> None:
    found = measure(Quorum(2), 1_000, Random(2), liars=True)
    assert found.honest_banned == 0 < found.liars_banned


def test_a_coordinator_that_finds_wrong_results_bans_the_honest_and_that_is_seen(monkeypatch) -> None:
    """Half of the results of one worker come out otherwise here: what a function that does not repeat does."""
    real = one_job.OneJob._key

    def unsteady(self: TroubledJob, member: one_job.Known, piece: one_job.Piece) -> bytes:
        key = real(self, member, piece)
        return one_job.wrong_key(piece) if member.name == PeerId("worker-1") and piece.start % 2 else key

    monkeypatch.setattr(one_job.OneJob, "_key", unsteady)
    job = TroubledJob(Quorum(2), [HONEST] * 6, 200, Random(3))
    found = Alarms()
    found.add(job.run(whitewash=False), job)
    assert found.honest_banned == 1
