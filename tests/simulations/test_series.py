"""Workers of `OneJob` from job to job: what they earn is theirs, who was caught is gone or comes back as a stranger."""

from random import Random

from protocol.adaptive import Adaptive
from protocol.planner import Target, check_due
from protocol.verification import Quorum
from simulations.experiments.behaviours import HONEST, Canary, Chance, Rate, Sleeps
from simulations.experiments.one_job import OneJob
from simulations.experiments.series import Series

LOOSE = Adaptive(Target(max_error=0.02))


def test_what_is_earned_in_one_job_makes_the_next_one_cheaper() -> None:
    series = Series(LOOSE, [HONEST] * 6, Random(1))
    first, second = series.run(300), series.run(300)
    assert all(one.clean > 50 for one in series.peers) and sum(one.done for one in series.peers) >= 600
    assert second.overhead < first.overhead - 0.1
    assert check_due(LOOSE.target, series.peers[0].clean) < 0.2


def test_who_was_caught_is_banned_in_later_jobs() -> None:
    series = Series(LOOSE, [Rate(1.0), *[HONEST] * 5], Random(1))
    assert series.run(200).caught == 1
    assert [one.behaviour for one in series.peers] == [HONEST] * 5
    assert series.run(200).wrong == 0


def test_a_whitewasher_comes_back_with_nothing_behind_it() -> None:
    series = Series(LOOSE, [Sleeps(20), *[HONEST] * 5], Random(1), whitewash=True)
    assert series.run(200).caught > 0
    assert len(series.peers) == 6 and len({one.name for one in series.peers}) == 6
    back = next(one for one in series.peers if one.behaviour != HONEST)
    assert back.done < series.peers[0].done and back.name not in {one.name for one in series.caught}


def test_the_ring_lies_where_two_have_the_chunk_and_then_as_the_first_said() -> None:
    def lies(company: bool, said: bool | None) -> bool:
        return Canary().lies(Chance(0, 0.5, company, said))

    assert lies(True, None) and not lies(False, None)
    assert lies(False, True) and not lies(True, False)


def test_liars_with_words_of_their_own_outvote_nobody() -> None:
    """Two liars sit together on some of these chunks: only where they say the same does their vote pass."""

    def wrong(liar: Rate) -> int:
        return sum(
            OneJob(Quorum(2), [liar] * 2 + [HONEST] * 2, 40, Random(seed)).run(whitewash=True).wrong
            for seed in range(20)
        )

    assert wrong(Rate(1.0, own_word=True)) == 0 < wrong(Rate(1.0))
