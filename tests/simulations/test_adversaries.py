"""Adversaries: what each does to a chunk, and that a seed repeats it."""

from collections.abc import Sequence
from random import Random

import pytest
import trio
import trio.testing

from peer.seam import Execution, ExecutionFailure, Executor
from protocol import encoding
from protocol.bodies import Manifest, Receipt
from protocol.errors import LocalError
from protocol.ids import JobId, PeerId
from protocol.signing import open_envelope
from protocol.worker_policy import WorkerPolicy
from simulations.adversaries import ADVERSARIES, Adversary, make_gang, names, no_show
from simulations.local_executor import LocalExecutor
from simulations.scenario import Adversary as Settings

MANIFEST = Manifest(job=JobId("j" * 26), runtime="python", code=b"")
CHUNKS = [encoding.encode([number]) for number in range(200)]


def honest() -> Executor:
    return LocalExecutor(duration_s=lambda _: 1.0, function=lambda item: int(str(item)) ** 2 + 1000)


def members(count: int, seed: int = 1, **settings: object) -> list[Adversary]:
    random = Random(seed)
    make = make_gang(Settings(**settings), random)  # type: ignore[arg-type]
    return [make(Random(random.getrandbits(64))) for _ in range(count)]


async def answers(adversary: Adversary, chunks: Sequence[bytes] = CHUNKS) -> list[object]:
    """The value that it gives for each chunk, or the kind of its failure."""
    found: list[object] = []
    async with adversary.executor(honest()).open_runner(MANIFEST) as runner:
        for chunk in chunks:
            answer = await runner.run(chunk)
            found.append(_value(answer) if isinstance(answer, Execution) else str(answer.kind))
    return found


def _value(answer: Execution) -> object:
    outcomes = encoding.decode(answer.data)
    assert isinstance(outcomes, list)
    return outcomes[0][1]


TRUTH: list[object] = [number**2 + 1000 for number in range(200)]


def lies(given: list[object]) -> list[bool]:
    return [one != right for one, right in zip(given, TRUTH, strict=False)]


async def test_a_constant_liar_always_lies(autojump_clock: trio.testing.MockClock) -> None:
    [liar] = members(1, kind="constant")
    assert all(lies(await answers(liar)))


async def test_an_intermittent_liar_lies_at_its_rate(autojump_clock: trio.testing.MockClock) -> None:
    [liar] = members(1, kind="intermittent", rate=0.3)
    assert 40 <= sum(lies(await answers(liar))) <= 80


async def test_a_sleeper_is_honest_first(autojump_clock: trio.testing.MockClock) -> None:
    [liar] = members(1, kind="sleeper", sleep_chunks=20)
    assert lies(await answers(liar)) == [False] * 20 + [True] * 180


async def test_colluders_say_the_same_and_others_do_not(autojump_clock: trio.testing.MockClock) -> None:
    one, other = members(2, kind="colluders", rate=0.5)
    given = await answers(one)
    assert given == await answers(other) and 70 <= sum(lies(given)) <= 130
    one, other = members(2, kind="constant")
    assert await answers(one) != await answers(other)


async def test_the_canary_ring_lies_only_where_two_have_the_chunk(autojump_clock: trio.testing.MockClock) -> None:
    one, other, third = members(3, kind="canary")
    assert not any(lies(await answers(one, CHUNKS[:5]))), "nobody else had them"
    given: list[list[object]] = []

    async def give(adversary: Adversary) -> None:
        given.append(await answers(adversary, CHUNKS[5:9]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give, one)
        nursery.start_soon(give, other)
    assert given[0] == given[1] and not set(given[0]) & set(TRUTH[5:9])
    assert await answers(third, CHUNKS[5:9]) == given[0], "a third says what they said"
    assert await answers(third, CHUNKS[:5]) == TRUTH[:5], "and tells no lie where one was honest"


async def test_a_lazy_one_needs_no_time_and_a_denier_blames_the_job(autojump_clock: trio.testing.MockClock) -> None:
    [lazy] = members(1, kind="lazy")
    [denier] = members(1, kind="denier")
    began = trio.current_time()
    assert all(lies(await answers(lazy)))
    assert set(await answers(denier)) == {"runner crashed"}
    assert trio.current_time() == began


async def test_who_never_answers(autojump_clock: trio.testing.MockClock) -> None:
    for adversary in (*members(1, kind="free_rider"), no_show(Random(1))):
        with trio.move_on_after(1e6) as scope:
            await answers(adversary, CHUNKS[:1])
        assert scope.cancelled_caught


async def test_a_padder_is_right_but_dear(autojump_clock: trio.testing.MockClock) -> None:
    [padder] = members(1, kind="padder")
    async with padder.executor(honest()).open_runner(MANIFEST) as runner:
        answer = await runner.run(CHUNKS[0])
    assert isinstance(answer, Execution) and answer.compute_s == 100.0 and _value(answer) == TRUTH[0]


async def test_a_failure_stays_a_failure(autojump_clock: trio.testing.MockClock) -> None:
    late = LocalExecutor(duration_s=lambda _: 1e9, function=lambda item: item)
    for kind in ("constant", "colluders", "canary", "padder"):
        [adversary] = members(1, kind=kind)
        async with adversary.executor(late).open_runner(MANIFEST) as runner:
            assert isinstance(await runner.run(CHUNKS[0]), ExecutionFailure)


def test_what_only_bids_differently_says_so_in_its_policy() -> None:
    fair = WorkerPolicy(price=2.0, speed=3.0)
    [shading], [boaster] = members(1, kind="bid_shading", rate=0.5), members(1, kind="boaster")
    assert (shading.policy(fair).price, shading.policy(fair).lowest_price) == (3.0, 2.0)
    assert boaster.policy(fair).speed == 30.0
    [liar] = members(1, kind="constant")
    assert liar.policy(fair) == fair


def test_those_renew_their_identity_who_gain_by_it() -> None:
    assert [kind for kind in names() if members(1, kind=kind)[0].renews_identity] == ["self_dealing", "whitewasher"]


def test_self_dealers_show_receipts_that_are_signed_and_made_out_to_them() -> None:
    one, other = members(2, kind="self_dealing", rate=1.0)
    shown = one.memory(PeerId("me")).introductions(PeerId("a coordinator"))
    assert {open_envelope(receipt, Receipt).worker for receipt in shown} == {"me"} and len(shown) > 1
    friends = other.memory(PeerId("me")).introductions(PeerId("a coordinator"))
    assert [receipt.signer for receipt in shown] == [receipt.signer for receipt in friends]
    assert members(1, kind="colluders")[0].memory(PeerId("me")).introductions(PeerId("a coordinator")) == ()


@pytest.mark.parametrize("kind", sorted({*ADVERSARIES} - {"free_rider"}))
async def test_the_same_seed_repeats_what_they_say(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    [first], [second] = members(1, seed=5, kind=kind, rate=0.5), members(1, seed=5, kind=kind, rate=0.5)
    assert await answers(first, CHUNKS[:30]) == await answers(second, CHUNKS[:30])


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(LocalError, match=r"adversary\.kind: no adversary 'sleepr'; did you mean sleeper\?"):
        members(1, kind="sleepr")
