"""Warm sessions: single calls on leased workers."""

import pytest
import trio.testing
from village import FunctionExecutor, request, village

from peer.session import open_session
from protocol.errors import LocalError, Unavailable


def double(item: object) -> object:
    assert isinstance(item, int)
    return 2 * item


async def test_calls_reuse_the_leases(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        await v.worker("a", FunctionExecutor(double))
        await v.worker("b", FunctionExecutor(double))
        coordinator = await v.coordinator(FunctionExecutor(double))
        async with open_session(coordinator, request([99], local=0)) as session:
            assert [(await session.call(n)).result for n in range(5)] == [0, 2, 4, 6, 8]
            assert [line.result for line in await session.map(range(50))] == [2 * n for n in range(50)]
            view = session.view()
        assert view.funnel.awarded == 2 and view.items_done == 55
        with trio.move_on_after(1.0):
            await trio.sleep_forever()
        assert sum(worker.view().leases for worker in v.workers.values()) == 0
        assert sum(worker.view().credits_earned for worker in v.workers.values()) > 0


async def test_a_call_after_the_end_is_told_why(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(double))
        with pytest.raises(Unavailable, match="no worker took the job"):
            async with open_session(coordinator, request([], local=0)) as session:
                await session.call(1)


async def test_an_item_that_is_not_data_is_named(autojump_clock: trio.testing.MockClock) -> None:
    async with village() as v:
        coordinator = await v.coordinator(FunctionExecutor(double))
        async with open_session(coordinator, request([])) as session:
            with pytest.raises(LocalError, match="item 0"):
                await session.call(object())
            assert (await session.call(4)).result == 8
