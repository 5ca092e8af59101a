"""Peers that misbehave on purpose do so as they say, and in no other way."""

from random import Random

import pytest
import trio
from execution_helpers import manifest, outcomes
from hypothesis import given
from hypothesis import strategies as st

from peer.falsify import falsify
from peer.faults import Fault, FaultKind, FaultyExecutor, parse_fault
from peer.seam import Execution
from protocol import encoding
from protocol.arrays import TypedArray
from protocol.errors import LocalError
from protocol.outcomes import comparison_key, decode_outcomes
from simulations.local_executor import LocalExecutor

JOB = manifest("def run(item):\n    return item + 0.5")
CHUNK = encoding.encode([1, 2, 3])
HONEST = encoding.encode([[True, 1.5], [True, 2.5], [True, 3.5]])


def faulty(text: str, seed: int = 1, **fields: object) -> FaultyExecutor:
    return FaultyExecutor(LocalExecutor(lambda _: 1.0), parse_fault(text), Random(seed), **fields)


@pytest.mark.parametrize("text", ["lie:0.3", "collude:0.3", "sleeper:20", "crash:0.1", "hang:1", "slow:10", "slow:1.5"])
def test_forms_are_read_and_shown_alike(text):
    assert str(parse_fault(text)) == text


@pytest.mark.parametrize(
    "text", ["", "lie", "lie:", "lie:x", "lie:0", "lie:1.1", "lie:nan", "sleeper:-1", "sleeper:1.5", "slow:0.5",
             "slow:inf", "crash:-1", "steal:1", "LIE:1", "collude:0", "collude:2"],
)  # fmt: skip
def test_wrong_forms_are_refused_with_the_right_ones(text):
    with pytest.raises(
        LocalError, match=r"lie:0\.3 .* collude:0\.3 .* sleeper:20 .* crash:0\.1 and hang:0\.1 .* slow:10"
    ):
        parse_fault(text)


async def test_liar_lies_as_often_as_it_says(autojump_clock):
    executor = faulty("lie:0.3")
    async with executor.open_runner(JOB) as runner:
        results = [await runner.run(CHUNK) for _ in range(300)]
    lies = [result for result in results if result.data != HONEST]
    assert 60 < len(lies) < 120
    for lie in lies:
        assert all(one.ok and isinstance(one.value, float) for one in outcomes(lie, 3))


async def test_liars_with_the_same_seed_tell_the_same(autojump_clock):
    async def lies(seed: int) -> list[bytes]:
        async with faulty("lie:1", seed).open_runner(JOB) as runner:
            return [(await runner.run(CHUNK)).data for _ in range(3)]

    assert await lies(1) == await lies(1) != await lies(2)


async def test_colluders_agree_on_what_is_wrong_whatever_they_did_before(autojump_clock):
    chunks = [encoding.encode([n, n + 1, n + 2]) for n in range(300)]

    async def told(seed: int, order: list[bytes]) -> dict[bytes, bytes]:
        async with faulty("collude:0.3", seed).open_runner(JOB) as runner:
            return {chunk: (await runner.run(chunk)).data for chunk in order}

    first, second = await told(1, chunks), await told(2, chunks[::-1])
    assert first == second
    async with LocalExecutor(lambda _: 1.0).open_runner(JOB) as honest:
        wrong = [chunk for chunk in chunks if first[chunk] != (await honest.run(chunk)).data]
    assert 60 < len(wrong) < 120


async def test_sleeper_wakes_up(autojump_clock):
    executor = faulty("sleeper:3")
    results = []
    for _ in range(2):
        async with executor.open_runner(JOB) as runner:
            results += [(await runner.run(CHUNK)).data == HONEST for _ in range(3)]
    assert results == [True, True, True, False, False, False]


async def test_slow_peer_is_right_but_late(autojump_clock):
    async with faulty("slow:10").open_runner(JOB) as runner:
        started_at = trio.current_time()
        result = await runner.run(CHUNK)
    assert isinstance(result, Execution)
    assert (result.data, result.compute_s) == (HONEST, pytest.approx(30.0))
    assert trio.current_time() - started_at == pytest.approx(30.0)


async def test_hanging_peer_never_answers_but_can_be_cancelled(autojump_clock):
    async with faulty("hang:1").open_runner(JOB) as runner:
        with trio.move_on_after(1e6) as scope:
            await runner.run(CHUNK)
    assert scope.cancelled_caught


async def test_crash_comes_in_the_middle(autojump_clock):
    with trio.CancelScope() as life:
        async with faulty("crash:1", crash=life.cancel).open_runner(JOB) as runner:
            started_at = trio.current_time()
            await runner.run(CHUNK)
    assert life.cancelled_caught
    assert trio.current_time() - started_at < 1.0


def test_faulty_peer_offers_what_it_wraps():
    executor = faulty("lie:1")
    assert executor.offers() == LocalExecutor().offers()
    assert executor.environment("python") == LocalExecutor().environment("python")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, min_size=1, max_size=5), st.integers(0, 2**32))
def test_lies_are_well_formed_and_wrong(found, seed):
    honest = encoding.encode([[True, value] for value in found])
    lie = falsify(honest, Random(seed))
    assert len(decode_outcomes(lie, len(found))) == len(found)
    assert comparison_key(lie) != comparison_key(honest)


def test_errors_become_values():
    honest = encoding.encode([[False, "ValueError", "no", ""]])
    [lie] = decode_outcomes(falsify(honest, Random(1)), 1)
    assert lie.ok


async def test_lies_about_arrays_stay_arrays():
    numpy = pytest.importorskip("numpy")
    executor = LocalExecutor(function=lambda item: numpy.full((2, 2), item, dtype=item.__class__))
    async with executor.open_runner(JOB) as runner:
        for item in (1.0, 7):
            honest = (await runner.run(encoding.encode([item]))).data
            [lie] = decode_outcomes(falsify(honest, Random(1)), 1)
            assert isinstance(lie.value, TypedArray)
            assert lie.value.shape == (2, 2)
            assert lie.value.tolist() != [[item, item], [item, item]]


def test_fault_kinds_are_the_documented_ones():
    assert [kind.value for kind in FaultKind] == ["lie", "collude", "sleeper", "crash", "hang", "slow"]
    assert Fault(FaultKind.LIE, 0.3) == parse_fault("lie:0.3")
