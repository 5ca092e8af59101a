"""Whole jobs whose results are compared by more than their bytes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
import trio.testing
from village import FunctionExecutor, Village, request, village

from peer.result_checks import CHECK_ENTRY
from peer.seam import ExecutionFailure
from peer.views import JobState
from protocol.bodies import Manifest
from protocol.errors import LocalError
from protocol.messages.job import FailureKind


def noisy(
    size: float, seed: int = 0, lies_from: float = float("inf"), lie: float = 1.001
) -> Callable[[object], object]:
    """The item's tenth, as a machine of its own gives it; from an item on a lie."""
    random = Random(seed)

    def run(item: object) -> object:
        assert isinstance(item, int)
        right = (item + 1) / 10 * (1 + random.uniform(-size, size))
        return {"value": right * lie if item >= lies_from else right, "of": [item]}

    return run


async def workers(v: Village, **functions: Callable[[object], object]) -> None:
    for name, function in functions.items():
        await v.worker(name, FunctionExecutor(function))


@pytest.mark.parametrize("verify", ["quorum:2", "audit:0.5", "adaptive"])
async def test_honest_workers_whose_floats_differ_are_no_liars(
    verify: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with village() as v:
        await workers(v, a=noisy(1e-12, 1), b=noisy(1e-12, 2), c=noisy(1e-12, 3, lies_from=20))
        coordinator = await v.coordinator(FunctionExecutor(noisy(1e-12, 4)))
        asked = request(range(200), verify=verify, compare="tolerance:1e-9,0", local=0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and view.liars == [v.peer("c")], view.events
        for line in lines:
            assert isinstance(line.result, dict)
            assert line.result["value"] == pytest.approx((line.item + 1) / 10, rel=1e-11)
        assert view.compare == "tolerance:1e-9,0" and "relative" in view.comparison


async def test_with_exact_the_same_floats_end_the_job_or_convict(autojump_clock: trio.testing.MockClock) -> None:
    """The control."""
    async with village() as v:
        await workers(v, a=noisy(1e-12, 1), b=noisy(1e-12, 2))
        coordinator = await v.coordinator(FunctionExecutor(noisy(1e-12, 4)))
        view, _ = await v.finish(coordinator, coordinator.submit(request(range(20), local=0, verify="quorum:2")))
        assert view.state is JobState.FAILED and "--compare" in view.message


async def test_who_is_within_the_tolerance_of_a_liar_alone_takes_no_harm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The liar's result is within the tolerance of b's and not of ours: b's is held against ours, not against its."""
    async with village() as v:
        await workers(v, a=lambda item: 1.0 + 1.5e-6, b=lambda item: 1.0 + 0.8e-6)
        coordinator = await v.coordinator(FunctionExecutor(lambda item: 1.0))
        asked = request(range(40), verify="audit:1", compare="tolerance:1e-6", local=0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and view.liars == [v.peer("a")]
        assert {line.result for line in lines} <= {1.0, 1.0 + 0.8e-6}


async def test_audits_of_results_that_count_confirm_and_convict(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(noisy(1e-12, 1), item_s=1.0))
        await v.worker("b", FunctionExecutor(noisy(1e-12, 2, lies_from=0), item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(noisy(1e-12, 4), item_s=1.0))
        for name in "ab":
            coordinator.trust.pair(v.peer(name))
        asked = request(range(100), verify="adaptive", compare="tolerance:1e-9", local=0, audit_share=1.0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and view.liars == [v.peer("b")] and len(lines) == 100
        assert all(line.worker != v.peer("b") for line in lines)
        confirmed = next(worker for worker in view.workers if worker.peer == v.peer("a"))
        assert confirmed.audits > 0


async def test_results_that_count_stand_when_an_audit_differs_in_the_last_bits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(noisy(1e-12, 1), item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(noisy(1e-12, 4), item_s=1.0))
        coordinator.trust.pair(v.peer("a"))
        asked = request(range(40), verify="adaptive", compare="tolerance:1e-9", local=0, audit_share=1.0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and len(lines) == 40 and view.audits > 0
        assert view.revoked == 0 and not view.liars


async def test_a_tolerance_is_calibrated_on_the_first_pairs(autojump_clock: trio.testing.MockClock) -> None:
    """The lie is within the tolerance at the start, and beyond the one that honest results call for."""
    async with village() as v:
        await v.worker("a", FunctionExecutor(noisy(1e-12, 1), item_s=1.0))
        await v.worker("b", FunctionExecutor(noisy(1e-12, 2), item_s=1.0))
        await v.worker("c", FunctionExecutor(noisy(1e-12, 3, lies_from=60, lie=1 + 1e-7), item_s=1.0))
        coordinator = await v.coordinator(FunctionExecutor(noisy(1e-12, 4)))
        asked = request(range(100), verify="quorum:2", compare="tolerance:auto", local=0)
        view, _ = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and view.liars == [v.peer("c")], view.comparison
        assert "calibrated from 16 pairs: rtol" in view.comparison


async def test_canonical_takes_one_for_one_point_nought(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await workers(v, a=lambda item: item, b=lambda item: float(str(item)))
        coordinator = await v.coordinator(FunctionExecutor(lambda item: item))
        asked = request(range(20), verify="quorum:2", compare="canonical", local=0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and not view.liars and view.mismatches == 0
        assert [line.result for line in lines] == list(range(20))


async def test_a_comparator_that_is_not_known_starts_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(noisy(0)))
        with pytest.raises(LocalError, match="tolerance:RTOL,ATOL"):
            coordinator.submit(request(range(3), compare="roughly"))


# Workers of one kind.


@dataclass
class OfKind(FunctionExecutor):
    """A machine of one kind."""

    kind: bytes = bytes(32)

    def environment(self, runtime: str) -> bytes:
        return self.kind


def of_kind(number: int, *, item_s: float = 0.05) -> OfKind:
    """Its floats end in bits of their own."""
    return OfKind(lambda item: float(str(item)) + number * 1e-9, item_s, kind=bytes([number]) * 32)


@pytest.mark.parametrize("verify", ["quorum:2", "adaptive"])
async def test_replicas_go_to_workers_of_one_kind(verify: str, autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        for name, number in {"a": 1, "b": 1, "c": 2, "d": 2}.items():
            await v.worker(name, of_kind(number))
        coordinator = await v.coordinator(of_kind(3))
        asked = request(range(80), verify=verify, same_platform=True, local=0, audit_share=0.0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and len(lines) == 80, view.message
        assert not view.liars and view.mismatches == view.audits == 0 and view.votes > 0
        assert {line.result - line.item > 1.5e-9 for line in lines} == {False, True}  # type: ignore[operator]


async def test_without_it_the_same_workers_contradict_one_another(autojump_clock: trio.testing.MockClock) -> None:
    """The control."""
    async with village() as v:
        for name, number in {"a": 1, "b": 2}.items():
            await v.worker(name, of_kind(number))
        coordinator = await v.coordinator(of_kind(1))
        view, _ = await v.finish(coordinator, coordinator.submit(request(range(20), verify="quorum:2", local=0)))
        assert view.liars == [v.peer("b")]


async def test_the_only_one_of_its_kind_is_checked_here(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        for name, number in {"a": 1, "b": 2}.items():
            await v.worker(name, of_kind(number))
        coordinator = await v.coordinator(of_kind(3))
        asked = request(range(40), verify="quorum:2", same_platform=True, local=0, compare="tolerance:0,1e-6")
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and len(lines) == 40, view.message
        assert not view.liars and view.votes == 0 and view.audits == sum(view.chunks.values())
        assert view.elapsed_s < 15.0


async def test_where_that_cannot_be_the_job_ends(autojump_clock: trio.testing.MockClock) -> None:
    stuck = ExecutionFailure(FailureKind.CRASHED, 0, "boom")
    async with village() as v:
        await v.worker("a", of_kind(1))
        here = of_kind(3)
        here.failing = dict.fromkeys(range(20), stuck)
        coordinator = await v.coordinator(here)
        asked = request(range(20), verify="quorum:2", same_platform=True, local=0)
        view, _ = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.FAILED and "independent peers" in view.message


# The job's own check.


@dataclass
class Checking(FunctionExecutor):
    """The coordinator's machine: runs `check` where the job's own check is asked for."""

    check: Callable[[object, object], object] = lambda item, result: True
    checks: list[object] = field(default_factory=list)

    @asynccontextmanager
    async def open_runner(self, manifest: Manifest) -> AsyncIterator[FunctionExecutor]:
        yield FunctionExecutor(self._check_pair, 0.001) if manifest.entry == CHECK_ENTRY else self

    def _check_pair(self, pair: object) -> object:
        assert isinstance(pair, list)
        self.checks.append(pair[0])
        return bool(self.check(*pair))


def any_root(seed: int, lies_from: float = float("inf")) -> Callable[[object], object]:
    """One of the two square roots: a search with more than one right answer."""
    random = Random(seed)

    def run(item: object) -> object:
        assert isinstance(item, int)
        return random.choice((-1, 1)) * (item + (item >= lies_from))

    return run


def is_root(item: object, result: object) -> object:
    assert isinstance(item, int)
    if not isinstance(result, int):
        raise ValueError("no whole number")
    return result * result == item * item


@pytest.mark.parametrize("verify", ["adaptive", "quorum:2", "none"])
async def test_the_jobs_own_check_catches_a_lie_at_once_and_believes_the_rest(
    verify: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with village() as v:
        await workers(v, a=any_root(1), b=any_root(2), c=any_root(3, lies_from=0))
        here = Checking(any_root(4), check=is_root)
        coordinator = await v.coordinator(here)
        asked = request(range(1, 101), verify=verify, compare="verify", local=0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert view.state is JobState.DONE and view.liars == [v.peer("c")], view.message
        assert all(is_root(line.item + 1, line.result) for line in lines) and len(lines) == 100
        liar = next(worker for worker in view.workers if worker.peer == v.peer("c"))
        assert liar.chunks_done == 1 and liar.credits == 0.0 and view.votes == 0
        assert view.overhead < 1.5 and view.error_bound == 0.0
        assert set(here.checks) == set(range(1, 101))
        assert any("verify refuses the result" in line for line in view.events)
        assert "passed the job's own check" in view.comparison
        assert view.plan == ""


@pytest.mark.parametrize("hostile", ["text", 1.5, [], {"a": None}, float("nan")])
async def test_a_result_that_the_check_cannot_bear_is_a_lie(
    hostile: object, autojump_clock: trio.testing.MockClock
) -> None:
    async with village() as v:
        await workers(v, a=any_root(1), c=lambda item: hostile)
        coordinator = await v.coordinator(Checking(any_root(4), check=is_root))
        view, lines = await v.finish(coordinator, coordinator.submit(request(range(40), compare="verify", local=0)))
        assert view.state is JobState.DONE and view.liars == [v.peer("c")]
        assert all(is_root(line.item, line.result) for line in lines)


@pytest.mark.parametrize("local", [0, 1])
async def test_a_check_that_refuses_our_own_results_convicts_nobody(
    local: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with village() as v:
        await workers(v, a=any_root(1), b=any_root(2))
        coordinator = await v.coordinator(Checking(any_root(4), check=lambda item, result: False))
        view, _ = await v.finish(coordinator, coordinator.submit(request(range(40), compare="verify", local=local)))
        assert view.state is JobState.FAILED and not view.liars and not coordinator.trust.banned()
        assert "verify(item, result) refuses a result that this machine computed itself" in view.message


async def test_failed_items_are_compared_as_ever_and_failing_alone_is_no_lie(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def picky(item: object) -> object:
        if item == 7:
            raise ValueError("not seven")
        return item

    async with village() as v:
        await workers(v, a=picky, b=picky, c=picky)
        coordinator = await v.coordinator(Checking(picky, check=is_root))
        asked = request(range(20), compare="verify", verify="quorum:2", local=0)
        view, lines = await v.finish(coordinator, coordinator.submit(asked))
        assert (view.state, view.items_done, view.items_failed) == (JobState.DONE, 19, 1)
        assert lines[7].error == "ValueError: not seven" and not view.liars and view.votes >= 1
