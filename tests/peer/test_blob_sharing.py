"""Blobs among peers, in virtual time over the memory network: whoever holds them, the right bytes arrive."""

import msgspec
import pytest
import trio
from blob_helpers import content, described, file_with
from blob_town import Change, Holder, town

from dht.keys import blob_key
from peer import blob_server
from peer.blob_download import GIVE_UP_S, Fetched
from peer.blob_holder import ANSWER_TIMEOUT_S
from peer.blobs import PUBLISH_INTERVAL_S
from protocol.blobs import blob_digest
from protocol.channel import MessageChannel
from protocol.errors import LocalError, Unavailable
from protocol.limits import BLOB_PIECE_BYTES, BLOB_STREAMS_PER_PEER_MAX, MIB
from protocol.messages.blob import (
    BLOB_CODEC,
    BlobMessage,
    Digests,
    Have,
    Lacking,
    PieceHead,
    Want,
    WantDigests,
    WantPiece,
)
from protocol.network import BLOB_PROTOCOL

DATA = content(6 * BLOB_PIECE_BYTES + 77)
BLOB = described(DATA)[0].id


async def test_a_blob_that_one_peer_put_is_found_through_the_dht_and_then_provided_by_both(tmp_path, autojump_clock):
    async with town(tmp_path) as t:
        one, other = await t.peer("one"), await t.peer("other")
        blob = await one.store.put(file_with(tmp_path, DATA))
        told: list[Fetched] = []
        got = await other.fetch(blob.id, progress=told.append)
        assert got.path.read_bytes() == DATA and told[-1].done == len(DATA)
        assert max(one.holders for one in told) == 1
        assert [one.done for one in told] == sorted(one.done for one in told)
        await trio.sleep(1)
        assert set(t.dht.records[blob_key(blob_digest(blob.id))]) == {t.id("one"), t.id("other")}
        assert (await other.fetch(blob.id)).path == got.path


@pytest.mark.parametrize("size", [0, 1, BLOB_PIECE_BYTES])
async def test_small_and_empty_blobs_arrive(tmp_path, autojump_clock, size) -> None:
    async with town(tmp_path) as t:
        one, other = await t.peer("one"), await t.peer("other")
        blob = await one.store.put(file_with(tmp_path, content(size)))
        assert (await other.fetch(blob.id)).path.read_bytes() == content(size)


async def test_several_holders_share_the_work(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        holders = [t.holder(f"h{number}", Holder(DATA, part_s=0.1)) for number in range(3)]
        peer = await t.peer("one")
        began = trio.current_time()
        got = await peer.fetch(BLOB, hints=[t.id(f"h{number}") for number in range(3)])
        assert got.path.read_bytes() == DATA
        assert all(holder.asked for holder in holders) and trio.current_time() - began < 7 * 4 * 0.1


async def test_partial_holders_together_are_as_good_as_a_whole_one(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("low", Holder(DATA, held=bytes([0b0001111])))
        t.holder("high", Holder(DATA, held=bytes([0b1110000])))
        peer = await t.peer("one")
        assert (await peer.fetch(BLOB, hints=[t.id("low"), t.id("high")])).path.read_bytes() == DATA


async def test_what_two_peers_fetch_at_once_they_also_get_from_each_other(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("half", Holder(DATA, held=bytes([0b0001111]), part_s=0.1))
        rest = t.holder("rest", Holder(DATA, held=bytes([0b1110000]), part_s=0.1))
        one, other = await t.peer("one"), await t.peer("other")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: one.fetch(BLOB, hints=[t.id("half"), t.id("rest")]))
            await trio.sleep(1)
            got = await other.fetch(BLOB, hints=[t.id("half"), t.id("one")])
        assert got.path.read_bytes() == DATA and sorted(rest.asked) == [4, 5, 6]


async def test_a_holder_that_dies_in_the_middle_costs_nothing_that_came(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("mortal", Holder(DATA, part_s=0.1))
        slow = t.holder("slow", Holder(DATA, part_s=0.3))
        peer = await t.peer("one")

        def kill(fetched: Fetched) -> None:
            if fetched.done > 2 * BLOB_PIECE_BYTES and not t.hosts["mortal"].ended:
                t.network.kill(t.hosts["mortal"])

        got = await peer.fetch(BLOB, hints=[t.id("mortal"), t.id("slow")], progress=kill)
        assert got.path.read_bytes() == DATA and t.hosts["mortal"].ended
        assert len(slow.asked) < 7


def lie_about_size(message: BlobMessage) -> BlobMessage:
    return msgspec.structs.replace(message, size_bytes=1) if isinstance(message, PieceHead) else message


def lie_about_digests(message: BlobMessage) -> BlobMessage:
    return (
        msgspec.structs.replace(message, packed=bytes(len(message.packed))) if isinstance(message, Digests) else message
    )


def lie_about_blob(message: BlobMessage) -> BlobMessage:
    return Have(descriptor=described(b"another")[0]) if isinstance(message, Have) else message


def other_piece(message: BlobMessage) -> BlobMessage:
    return msgspec.structs.replace(message, piece=message.piece ^ 1) if isinstance(message, PieceHead) else message


def no_digests(message: BlobMessage) -> BlobMessage:
    return msgspec.structs.replace(message, packed=b"") if isinstance(message, Digests) else message


def wrong_bytes(data: bytes) -> bytes:
    return bytes(len(data))


def cut_short(data: bytes) -> bytes:
    return data[:-1]


@pytest.mark.parametrize("spoil", [wrong_bytes, cut_short])
async def test_a_bad_piece_costs_its_holder_the_download_and_nobody_else(tmp_path, autojump_clock, spoil) -> None:
    async with town(tmp_path) as t:
        liar = t.holder("liar", Holder(DATA, spoil=spoil))
        t.holder("honest", Holder(DATA, part_s=0.5))
        peer = await t.peer("one")
        got = await peer.fetch(BLOB, hints=[t.id("liar"), t.id("honest")])
        assert got.path.read_bytes() == DATA and len(liar.asked) <= 4


@pytest.mark.parametrize("lie", [lie_about_size, lie_about_digests, lie_about_blob, other_piece, no_digests])
async def test_a_lie_costs_its_holder_the_download_and_nobody_else(tmp_path, autojump_clock, lie: Change) -> None:
    async with town(tmp_path) as t:
        liar = t.holder("liar", Holder(DATA, change=lie))
        honest = t.holder("honest", Holder(DATA, part_s=0.5))
        peer = await t.peer("one")
        got = await peer.fetch(BLOB, hints=[t.id("liar"), t.id("honest")])
        assert got.path.read_bytes() == DATA and len(honest.asked) >= 7 - len(liar.asked)
        assert len(liar.asked) <= 4


async def test_with_liars_alone_nothing_is_taken_for_the_blob(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("liar", Holder(DATA, spoil=lambda data: bytes(len(data))))
        peer = await t.peer("one")
        with pytest.raises(Unavailable, match="broke the protocol"):
            await peer.fetch(BLOB, hints=[t.id("liar")])
        assert not peer.store.find(BLOB).whole and peer.store.find(BLOB).held == 0


async def test_the_last_pieces_do_not_wait_for_a_slow_holder(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("slow", Holder(DATA, part_s=20.0))
        t.holder("fast", Holder(DATA, part_s=0.05))
        peer = await t.peer("one")
        began = trio.current_time()
        got = await peer.fetch(BLOB, hints=[t.id("slow"), t.id("fast")])
        assert got.path.read_bytes() == DATA and trio.current_time() - began < 10


async def test_a_holder_that_falls_silent_is_left_in_time(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("silent", Holder(DATA, part_s=1e6))
        peer = await t.peer("one")
        holders: list[int] = []
        with trio.move_on_after(ANSWER_TIMEOUT_S + 1):
            await peer.fetch(BLOB, hints=[t.id("silent")], progress=lambda fetched: holders.append(fetched.holders))
        assert holders[0] == 1 and 0 in holders


async def test_what_nobody_has_is_given_up_in_one_line(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        peer, _ = await t.peer("one"), await t.peer("other")
        began = trio.current_time()
        with pytest.raises(Unavailable, match=r"cannot be had now: .*the blob is not here"):
            await peer.fetch(BLOB, hints=[t.id("other")])
        assert GIVE_UP_S <= trio.current_time() - began < 2 * GIVE_UP_S


async def test_what_came_before_an_interruption_is_not_asked_for_again(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        first = t.holder("first", Holder(DATA, part_s=0.1))
        peer = await t.peer("one")
        with trio.move_on_after(1.5):
            await peer.fetch(BLOB, hints=[t.id("first")])
        kept = peer.store.find(BLOB).held.bit_count()
        assert 0 < kept < 7 and not peer.store.find(BLOB).users
        first.asked.clear()
        assert (await peer.fetch(BLOB, hints=[t.id("first")])).path.read_bytes() == DATA
        assert len(first.asked) == 7 - kept


async def test_a_blob_that_does_not_fit_or_is_larger_than_said_is_refused(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        t.holder("first", Holder(DATA))
        peer = await t.peer("one", bytes_max=MIB)
        with pytest.raises(LocalError, match="the cache has 1 MiB"):
            await peer.fetch(BLOB, hints=[t.id("first")])
        with pytest.raises(LocalError, match="more than was said"):
            await peer.fetch(BLOB, hints=[t.id("first")], size_bytes_max=len(DATA) - 1)
        assert (await peer.fetch(BLOB, hints=[t.id("first")], bounded=False)).whole


async def test_records_are_renewed_at_half_their_life_and_end_with_the_blob(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        peer = await t.peer("one")
        await peer.store.put(file_with(tmp_path, DATA))
        await trio.sleep(2.5 * PUBLISH_INTERVAL_S)
        times = [at for at, _, _ in t.dht.stored]
        assert [round(at / PUBLISH_INTERVAL_S) for at in times] == [0, 1, 2]
        peer.store.prune(everything=True)
        await trio.sleep(3 * PUBLISH_INTERVAL_S)
        assert len(t.dht.stored) == 3


async def test_streams_of_one_peer_are_bounded_and_idle_ones_end(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        peer = await t.peer("one")
        blob = await peer.store.put(file_with(tmp_path, DATA))
        host, _ = t.host("greedy")
        want = Want(blob=blob_digest(blob.id))
        answers = []
        for _ in range(BLOB_STREAMS_PER_PEER_MAX + 1):
            channel: MessageChannel[BlobMessage] = MessageChannel(
                await host.open_stream(t.id("one"), BLOB_PROTOCOL), BLOB_CODEC
            )
            await channel.send(want)
            answers.append(await channel.receive())
        assert [type(one) for one in answers] == [Have] * BLOB_STREAMS_PER_PEER_MAX + [Lacking]
        assert blob.users == BLOB_STREAMS_PER_PEER_MAX
        await trio.sleep(blob_server.IDLE_S_MAX + 1)
        assert blob.users == 0 and not peer.server._open


async def test_who_does_not_read_is_cut_off(tmp_path, autojump_clock) -> None:
    async with town(tmp_path) as t:
        peer = await t.peer("one")
        blob = await peer.store.put(file_with(tmp_path, content(40 * MIB)))
        host, _ = t.host("deaf")
        channel: MessageChannel[BlobMessage] = MessageChannel(
            await host.open_stream(t.id("one"), BLOB_PROTOCOL), BLOB_CODEC
        )
        await channel.send(Want(blob=blob_digest(blob.id)))
        await channel.receive()
        for piece in range(40):
            await channel.send(WantPiece(piece=piece))
        await trio.sleep(blob_server.SEND_STALL_S_MAX + blob_server.IDLE_S_MAX - 1)
        assert blob.users == 0


@pytest.mark.parametrize("first", [WantDigests(first=0), Lacking(reason="?")])
async def test_who_begins_with_nonsense_is_cut_off(tmp_path, autojump_clock, first) -> None:
    async with town(tmp_path) as t:
        await t.peer("one")
        host, _ = t.host("odd")
        channel: MessageChannel[BlobMessage] = MessageChannel(
            await host.open_stream(t.id("one"), BLOB_PROTOCOL), BLOB_CODEC
        )
        await channel.send(first)
        with pytest.raises(Unavailable):
            await channel.receive()
