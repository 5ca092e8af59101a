"""The seeded scheduler: one seed, one order; and the story of a run as a hash."""

import re
import signal
from pathlib import Path

import pytest
import trio

from protocol.errors import LocalError
from simulations import scheduler
from simulations.scheduler import TRIO_VERSION, run_seeded
from simulations.trace import Trace

ROOT = Path(__file__).resolve().parents[2]


def order_of(seed: str) -> list[int]:
    """Twenty tasks that wake at the same moments, in the order in which they ran."""
    order: list[int] = []

    async def turn(number: int) -> None:
        for _ in range(5):
            await trio.sleep(1)
            order.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(turn, number)

    run_seeded(main, seed)
    return order


def test_one_seed_gives_one_order() -> None:
    assert order_of("7") == order_of("7")
    assert order_of("7") != order_of("8")


def test_time_is_virtual() -> None:
    async def main() -> float:
        started_at = trio.current_time()
        await trio.sleep(5e4)
        return trio.current_time() - started_at

    assert run_seeded(main, "1") == 5e4


@pytest.mark.parametrize(
    ("errors", "comes_out"),
    [
        ([ValueError("x"), KeyError("y")], ValueError),
        ([ValueError("x"), LocalError("ours")], LocalError),
        ([LocalError("ours"), KeyboardInterrupt()], KeyboardInterrupt),
    ],
)
def test_what_ends_a_run_comes_out_as_itself(errors: list[BaseException], comes_out: type[BaseException]) -> None:
    async def main() -> None:
        raise BaseExceptionGroup("outer", [BaseExceptionGroup("inner", errors)])

    with pytest.raises(comes_out):
        run_seeded(main, "1")


def test_an_interruption_waits_for_a_checkpoint() -> None:
    """Wherever it strikes: also in code that trio calls, or that swallows what is raised in it."""
    reached = []

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append(True)
        await trio.sleep(1)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        run_seeded(main, "1")
    assert reached


def test_a_second_run_inside_a_run_is_refused_in_words() -> None:
    async def main() -> None:
        async def inner() -> None:
            raise AssertionError("never runs")

        with pytest.raises(LocalError, match="already runs"):
            run_seeded(inner, "2")

    run_seeded(main, "1")


def test_trio_is_left_as_it_was() -> None:
    before = trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING

    async def main() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        run_seeded(main, "1")
    assert (trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING) == before


def test_another_trio_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "TRIO_VERSION", "0.0.1")
    with pytest.raises(LocalError, match=r"install trio==0\.0\.1"):
        order_of("1")


def test_the_known_trio_is_the_pinned_one() -> None:
    pinned = re.findall(r"^trio==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert pinned == [TRIO_VERSION]


def test_the_hash_tells_every_difference() -> None:
    def hash_of(*events: tuple[str, bytes]) -> str:
        trace = Trace(lambda: 1.5)
        for kind, data in events:
            trace.note(kind, 3, data=data)
        return trace.hexdigest()

    assert hash_of(("a", b"x")) == hash_of(("a", b"x"))
    different = [(("a", b"x"),), (("a", b"y"),), (("b", b"x"),), (("a", b"x"), ("a", b"")), (("a", b""), ("a", b"x"))]
    assert len({hash_of(*events) for events in different}) == len(different)


def test_the_trace_keeps_the_beginning_alone() -> None:
    trace = Trace(lambda: 0.25, events_kept_max=2)
    for number in range(5):
        trace.note("sent", number, data=b"x" * number)
    assert trace.events == 5
    assert trace.kept() == ("250000 sent 0", "250000 sent 1 1 bytes 2d711642b726")
