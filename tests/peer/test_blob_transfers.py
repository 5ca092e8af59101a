"""Transfers that the owner asks for, and the control API in front of them, asked by the real client."""

from functools import partial
from types import SimpleNamespace

import pytest
import trio
from blob_helpers import content, described, file_with
from blob_town import Holder, Town, town
from fastapi import FastAPI
from hypercorn.config import Config
from hypercorn.trio import serve

from peer.blob_transfers import ASKED_AFTER_S_MAX, TRANSFERS_MAX, BlobTransfers
from peer.blob_views import TransferRequest, TransferView
from peer.control_api import make_app
from peer.control_client import ControlClient
from protocol.errors import LocalError
from protocol.limits import BLOB_PIECE_BYTES

DATA = content(3 * BLOB_PIECE_BYTES + 1)
BLOB = described(DATA)[0].id


async def transfers_of(t: Town, name: str) -> BlobTransfers:
    transfers = BlobTransfers(await t.peer(name))
    await t.nursery.start(transfers.run)
    return transfers


async def end_of(transfers: BlobTransfers, view: TransferView) -> TransferView:
    with trio.fail_after(600):
        while not view.ended:
            with trio.move_on_after(5):
                await transfers.wait_change(view.number, view)
            view = transfers.view(view.number)
    return view


async def test_a_file_is_put_and_a_blob_is_got(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        one, other = await transfers_of(t, "one"), await transfers_of(t, "other")
        put = await end_of(one, one.start(TransferRequest(action="put", what=str(file_with(tmp_path, DATA)))))
        assert put.blob is not None and put.blob.id == BLOB and put.blob.pinned and put.done_bytes == len(DATA)
        got = await end_of(other, other.start(TransferRequest(action="get", what=BLOB)))
        assert got.blob is not None and got.blob.whole and not got.blob.pinned and got.total_bytes == len(DATA)


async def test_what_goes_wrong_is_in_the_view_and_says_whose_fault_it_is(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        one = await transfers_of(t, "one")
        missing = await end_of(one, one.start(TransferRequest(action="put", what=str(tmp_path / "missing"))))
        assert "No such file" in missing.error and not missing.unavailable
        nobody = await end_of(one, one.start(TransferRequest(action="get", what=BLOB)))
        assert "cannot be had now" in nobody.error and nobody.unavailable
        with pytest.raises(LocalError, match="no blob id"):
            one.start(TransferRequest(action="get", what="abc"))


async def test_a_transfer_ends_when_nobody_asks_or_somebody_cancels_and_keeps_what_came(
    tmp_path, autojump_clock
) -> None:
    async with town(tmp_path) as t:
        t.holder("slow", Holder(DATA, part_s=2.0))
        one = await transfers_of(t, "one")
        one.blobs.providers = lambda blob: provided(t.id("slow"))  # type: ignore[method-assign,assignment]
        for how in ("forgotten", "cancelled"):
            view = one.start(TransferRequest(action="get", what=BLOB))
            await trio.sleep(9.0)
            if how == "cancelled":
                one.cancel(view.number)
                await trio.testing.wait_all_tasks_blocked()
            else:
                await trio.sleep(ASKED_AFTER_S_MAX)
            with pytest.raises(LocalError, match="goes on where it was"):
                one.view(view.number)
            kept = one.blobs.store.find(BLOB)
            assert kept is not None and kept.held and not kept.users


async def provided(*peers: str) -> list[str]:
    return list(peers)


async def test_transfers_are_bounded(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        one = await transfers_of(t, "one")
        for _ in range(TRANSFERS_MAX):
            one.start(TransferRequest(action="get", what=BLOB))
        with pytest.raises(LocalError, match="wait for one"):
            one.start(TransferRequest(action="get", what=BLOB))


async def serve_app(app: FastAPI, socket: object, *, task_status: trio.TaskStatus[object]) -> None:
    config = Config()
    config.bind = [f"unix:{socket}"]
    await serve(app, config, mode="asgi", task_status=task_status)  # type: ignore[arg-type]


async def test_the_control_api_puts_lists_gets_and_prunes(tmp_path, nursery) -> None:
    async with town(tmp_path) as t:
        transfers = await transfers_of(t, "one")
        app = make_app(SimpleNamespace(transfers=transfers))  # type: ignore[arg-type]
        socket = tmp_path / "control.sock"
        await nursery.start(partial(serve_app, app, socket))
        client = ControlClient(socket)

        async def ask(name: str, *args: object, **options: object) -> object:
            return await trio.to_thread.run_sync(partial(getattr(client, name), *args, **options))

        view = await ask("start_transfer", TransferRequest(action="put", what=str(file_with(tmp_path, DATA))))
        while not view.ended:  # type: ignore[attr-defined]
            view = await ask("transfer", view.number)  # type: ignore[attr-defined]
        cache = await ask("cache")
        assert [one.id for one in cache.blobs] == [BLOB] and cache.bytes_used == 0  # type: ignore[attr-defined]
        assert (await ask("prune", everything=False)).blobs == 0  # type: ignore[attr-defined]
        pruned = await ask("prune", everything=True)
        assert (pruned.blobs, pruned.bytes) == (1, len(DATA))  # type: ignore[attr-defined]
        for wrong in (
            lambda: ask("start_transfer", TransferRequest(action="get", what="abc")),
            lambda: ask("transfer", 99),
            lambda: ask("cancel_transfer", 99),
        ):
            with pytest.raises(LocalError):
                await wrong()
        nursery.cancel_scope.cancel()
