"""A worker's owner hears which results were found wrong, in a stranger's words that can do no harm."""

import pytest
import trio
import trio.testing
from village import FunctionExecutor, request, village

from peer.complaints import COMPLAINTS_TOLD_INTERVAL_S, Complaints
from peer.coordinator import Coordinator
from peer.core import ComplaintHeard
from protocol.ids import JobId, PeerId
from protocol.trust import FAULTY_CLEAN_MIN

COORDINATOR = PeerId("12D3KooWcoordinator")


def square(item: object) -> object:
    assert isinstance(item, int)
    return item * item


def wrong_once(item: object) -> object:
    assert isinstance(item, int)
    return item * item + (item == 17)


async def pass_time(virtual_s: float) -> None:
    with trio.move_on_after(virtual_s):
        await trio.sleep_forever()


async def complaints_of_a_job(*, clean: float) -> tuple[list[tuple[PeerId, str]], PeerId, JobId]:
    """What a worker with so many clean results is told that gives one wrong result; by whom, about which job."""
    heard: list[tuple[PeerId, str]] = []
    async with village() as v:
        await v.worker("c", FunctionExecutor(wrong_once), on_complaint=lambda who, text: heard.append((who, text)))
        coordinator: Coordinator = await v.coordinator(FunctionExecutor(square))
        coordinator.trust.add_clean(v.peer("c"), "earlier", clean, 0)
        job = coordinator.submit(request(range(40), verify="audit:1"))
        view, _ = await v.finish(coordinator, job)
        assert view.liars == [v.peer("c")]
        await pass_time(2.0)
        return heard, v.peer("coordinator"), job


async def test_the_worker_is_told_which_items_and_what_follows(autojump_clock: trio.testing.MockClock) -> None:
    [(who, text)], coordinator, job = await complaints_of_a_job(clean=0.0)
    assert who == coordinator
    assert text.startswith("item") and text.endswith(f" of job {job}; no more work from this coordinator for 30 days")


async def test_a_faulty_machine_is_told_that_it_may_be_its_memory(autojump_clock: trio.testing.MockClock) -> None:
    [(_, text)], _, _ = await complaints_of_a_job(clean=FAULTY_CLEAN_MIN + 1)
    assert "most often of its memory; it may come back in a day" in text and len(text) < 256


async def test_who_did_nothing_wrong_hears_nothing(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[str] = []
    async with village() as v:
        await v.worker("a", FunctionExecutor(square), on_complaint=lambda who, text: heard.append(text))
        coordinator = await v.coordinator(FunctionExecutor(square))
        await v.finish(coordinator, coordinator.submit(request(range(40), verify="audit:1", local=0)))
        await pass_time(2.0)
    assert heard == []


async def test_a_flood_is_counted_and_told_once_in_a_while(autojump_clock: trio.testing.MockClock) -> None:
    told: list[ComplaintHeard] = []
    complaints = Complaints(lambda: 1e9, told.append)
    for number in range(100):
        complaints.hear(COORDINATOR, f"item {number}")
    assert told == [ComplaintHeard(COORDINATOR, "item 0")]
    assert complaints.last is not None and (complaints.count, complaints.last.text) == (100, "item 99")
    await trio.sleep(COMPLAINTS_TOLD_INTERVAL_S)
    complaints.hear(COORDINATOR, "item 100")
    assert [one.text for one in told] == ["item 0", "item 100"]


@pytest.mark.parametrize("text", ["one\ntwo", "one \r\n\ttwo", "one\u2028two"])
async def test_foreign_words_stay_one_line(text: str) -> None:
    complaints = Complaints(lambda: 1e9, lambda event: None)
    complaints.hear(COORDINATOR, text)
    assert complaints.last is not None and complaints.last.text == "one two"
    complaints.hear(COORDINATOR, "\x1b[2Jevil\x07")
    assert complaints.last is not None and complaints.last.text == "\ufffd[2Jevil\ufffd"
