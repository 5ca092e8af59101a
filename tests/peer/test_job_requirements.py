"""What jobs require, over the shipped coordinator and workers: who is called, what is said, when a job ends early."""

import msgspec
import pytest
import trio
from village import FunctionExecutor, Village, request, village

from peer.job_setup import LEFT_MIN, what_is_left
from peer.views import JobState, JobView
from protocol.capability import Capability, RuntimeOffer
from protocol.errors import LocalError
from protocol.limits import MIB

GIB = 1024 * MIB


def double(item: object) -> object:
    assert isinstance(item, int)
    return 2 * item


async def worker(v: Village, name: str, **says: object) -> None:
    """A worker that says this of itself in its record; `real`: what it really has."""
    real = says.pop("real", {})
    assert isinstance(real, dict)
    await v.worker(name, FunctionExecutor(double, item_s=0.1), **real)
    v.records[-1] = msgspec.structs.replace(v.records[-1], **says)


async def test_only_those_that_lack_nothing_are_called(autojump_clock):
    async with village() as v:
        await worker(v, "small", memory_bytes=2 * GIB)
        await worker(v, "large", memory_bytes=8 * GIB, slots=2, real={"memory_bytes": 8 * GIB, "slots": 2})
        coordinator = await v.coordinator(FunctionExecutor(double))
        job = coordinator.submit(request(range(20), local=0, verify="none", memory_bytes_max=4 * GIB, cores=2))
        view, lines = await v.finish(coordinator, job)
        assert view.state is JobState.DONE and [line.result for line in lines] == [2 * item for item in range(20)]
        assert [one.peer for one in view.workers] == [v.peer("large")]
        assert (view.funnel.found, view.funnel.lacking, view.funnel.reached) == (2, 1, 1)


async def test_what_nobody_has_is_said_within_seconds_with_the_closest_peers(autojump_clock):
    async with village() as v:
        await worker(v, "one", memory_bytes=2 * GIB)
        await worker(v, "two", memory_bytes=1 * GIB, slots=0)
        await worker(v, "three", memory_bytes=8 * GIB)
        coordinator = await v.coordinator(FunctionExecutor(double))
        job = coordinator.submit(request(range(5), local=0, memory_bytes_max=4 * GIB, gpu="nvidia:16G"))
        await trio.sleep(3)
        message = coordinator.view(job).message
        one, two, three = (v.peer(name)[-6:] for name in ("one", "two", "three"))
        assert "3 found: " in message
        assert f"…{two} lacks its owner's leave to work now" in message
        assert f"…{three} lacks a GPU (none; wanted: nvidia:16G)" in message
        assert message.endswith(f"…{one} lacks memory (2 GiB of 4 GiB) and a GPU (none; wanted: nvidia:16G)")
        view, _ = await v.finish(coordinator, job)
        assert view.state is JobState.FAILED and "no worker took the job: 3 found: …" in view.message


async def test_a_worker_whose_record_promises_too_much_refuses_with_what_it_lacks(autojump_clock):
    async with village() as v:
        await worker(v, "boaster", memory_bytes=64 * GIB, real={"memory_bytes": GIB})
        coordinator = await v.coordinator(FunctionExecutor(double))
        job = coordinator.submit(request(range(5), local=0, verify="none"))
        view, _ = await v.finish(coordinator, job)
        assert view.funnel.refused == {"requirements not met": 1}


async def test_a_job_can_ask_for_a_strong_sandbox(autojump_clock):
    async with village() as v:
        await worker(v, "weak", runtimes=(RuntimeOffer(name="python", version="3.11", sandbox="landlock"),))
        await worker(v, "liar", runtimes=(RuntimeOffer(name="python", version="3.11", sandbox="bubblewrap"),))
        coordinator = await v.coordinator(FunctionExecutor(double))
        job = coordinator.submit(request(range(5), local=0, verify="none", sandbox="strong"))
        view, _ = await v.finish(coordinator, job)
        assert view.state is JobState.FAILED
        assert "lacks a strong sandbox (it has landlock)" in view.message
        assert view.funnel.lacking == 1 and view.funnel.refused == {"requirements not met": 1}


async def test_paired_peers_alone_and_one_that_is_paired_later(autojump_clock):
    async with village() as v:
        await worker(v, "stranger")
        coordinator = await v.coordinator(FunctionExecutor(double))
        job = coordinator.submit(request(range(5), local=0, verify="none", paired_only=True, worker_wait_s=60))
        await trio.sleep(3)
        assert "lacks your pairing" in coordinator.view(job).message
        coordinator.trust.pair(v.peer("stranger"))
        view, _ = await v.finish(coordinator, job)
        assert view.state is JobState.DONE and [one.peer for one in view.workers] == [v.peer("stranger")]


async def test_what_this_machine_lacks_itself_is_said_at_once(autojump_clock):
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(double))
        with pytest.raises(LocalError, match=r"lacks python >=99 \(it has 3.11\) itself: use --local off"):
            coordinator.submit(request(range(5), runtime_version=">=99"))
        with pytest.raises(LocalError, match="--runtime-version takes versions"):
            coordinator.submit(request(range(5), local=0, runtime_version="new"))
        with pytest.raises(LocalError, match="--gpu takes any"):
            coordinator.submit(request(range(5), local=0, gpu="16 elephants"))


async def test_a_budget_and_a_deadline_end_a_job_with_what_it_has(autojump_clock):
    async with village() as v:
        await worker(v, "a")
        coordinator = await v.coordinator(FunctionExecutor(double))
        for limit in ({"budget": 2.0}, {"deadline_s": 4.0}):
            job = coordinator.submit(request(range(500), local=0, verify="none", **limit))
            view, lines = await v.finish(coordinator, job)
            assert view.state is JobState.STOPPED
            assert "is reached; what is accepted is kept and paid" in view.message
            assert 0 < view.items_done == len(lines) < 500
            assert view.price > 0
        assert view.elapsed_s == pytest.approx(4.0, abs=0.1)


def test_records_that_say_no_memory_are_asked():
    record = Capability(peer="p", sequence=1, expires_at_unix_s=1.0, slots=1)  # type: ignore[arg-type]
    assert record.machine().memory_bytes > 2**60


def test_a_job_that_goes_on_has_what_is_left_of_its_limits():
    before = JobView(id="j", name="n", state=JobState.INTERRUPTED, price=3.0, submitted_at_unix_s=1000.0)
    left = what_is_left(request([1], budget=5.0, deadline_s=60.0), before, 1020.0)
    assert (left.budget, left.deadline_s) == (2.0, 40.0)
    late = what_is_left(request([1], budget=1.0, deadline_s=10.0), before, 1020.0)
    assert (late.budget, late.deadline_s) == (LEFT_MIN, LEFT_MIN)
    assert what_is_left(request([1]), before, 1020.0) == request([1])
