"""The blob store: nothing but the right bytes, within its bound, whatever happens in between."""

import errno
import os
import stat

import pytest
import trio
from blob_helpers import content, described, file_with, pieces_of, store_in

from peer import blob_file, blob_store
from peer.blob_store import BlobStore, NoRoom
from protocol.errors import BadRecord, LocalError
from protocol.limits import BLOB_PIECE_BYTES, MIB

DATA = content(2 * BLOB_PIECE_BYTES + 5)


async def fill(store: BlobStore, data: bytes, **options: bool) -> blob_file.BlobFile:
    descriptor, digests = described(data)
    blob = await store.begin(descriptor, digests, **options)
    for number, piece in enumerate(pieces_of(data)):
        blob.write(number, piece)
    await store.finish(blob)
    return blob


@pytest.mark.parametrize("size", [0, 1, BLOB_PIECE_BYTES, 2 * BLOB_PIECE_BYTES + 5])
async def test_what_is_put_is_a_read_only_file_under_the_id_of_its_content(tmp_path, size) -> None:
    store, data = store_in(tmp_path / "blobs"), content(size)
    told: list[tuple[int, int]] = []
    blob = await store.put(file_with(tmp_path, data), lambda done, total: told.append((done, total)))
    assert blob.id == described(data)[0].id and blob.whole and blob.pinned and blob.held_bytes == size
    assert blob.path.read_bytes() == data and stat.S_IMODE(blob.path.stat().st_mode) == 0o444
    assert told[-1:] == ([(size, size)] if size else [])
    assert (await store.put(file_with(tmp_path, data, "again"))).id == blob.id and len(store.blobs()) == 1


async def test_only_right_pieces_are_kept(tmp_path) -> None:
    store = store_in(tmp_path)
    blob = await store.begin(*described(DATA))
    with pytest.raises(BadRecord, match="wrong digest"):
        blob.write(0, pieces_of(DATA)[1])
    with pytest.raises(BadRecord, match="wrong digest"):
        blob.write(2, pieces_of(DATA)[0])
    assert blob.held == 0 and not blob.whole
    with pytest.raises(LocalError, match="not complete"):
        await store.finish(blob)
    assert (await fill(store, DATA)).path.read_bytes() == DATA


async def test_a_download_goes_on_after_a_restart_and_damage_is_found(tmp_path) -> None:
    blob = await store_in(tmp_path).begin(*described(DATA))
    blob.write(0, pieces_of(DATA)[0])
    blob.write(2, pieces_of(DATA)[2])
    part = tmp_path / f"{blob.id}.part"
    with part.open("r+b") as file:  # As a crash in the middle of a write leaves it.
        file.seek(BLOB_PIECE_BYTES)
        file.write(pieces_of(DATA)[1][:1000])
        file.seek(10)
        file.write(b"?")
    again = store_in(tmp_path)
    found = await again.begin(*described(DATA))
    assert found.held == 0b100 and not found.whole and found.held_bytes == 5
    assert (await fill(again, DATA)).path.read_bytes() == DATA
    assert store_in(tmp_path).find(found.id).whole and not part.exists()


async def test_a_crash_before_the_last_name_leaves_no_whole_blob(tmp_path) -> None:
    async def crash(path: object) -> None:
        raise OSError(errno.EIO, "the power went")

    store = BlobStore(tmp_path, sync=crash)
    store.open()
    with pytest.raises(LocalError, match="the power went"):
        await fill(store, DATA)
    with pytest.raises(LocalError, match="the power went"):
        await store.put(file_with(tmp_path.parent, DATA))
    again = store_in(tmp_path)
    (left,) = again.blobs()
    assert not left.whole and not list(tmp_path.glob("*.new"))


async def test_leftovers_and_damaged_digests_go_at_the_start(tmp_path) -> None:
    whole = await fill(store_in(tmp_path), DATA)
    other = await store_in(tmp_path).begin(*described(b"x"))
    (tmp_path / f"{other.id}.pieces").write_bytes(b"damaged")
    for name in ("put-0.new", "0" * 64, f"{'1' * 64}.part"):
        (tmp_path / name).write_bytes(b"left")
    assert [one.id for one in store_in(tmp_path).blobs()] == [whole.id]
    assert sorted(path.name for path in tmp_path.iterdir()) == [whole.id, f"{whole.id}.pieces"]


async def test_what_was_used_longest_ago_goes_first_but_not_what_is_pinned_or_in_use(tmp_path) -> None:
    store = store_in(tmp_path / "blobs", bytes_max=3 * MIB)
    pinned = await store.put(file_with(tmp_path, content(2 * MIB, 9)))
    old, used, third = [await fill(store, content(MIB, seed)) for seed in (1, 2, 3)]
    with store.using(old):
        newest = await fill(store, content(MIB, 4))
        assert [one.id for one in store.blobs()] == [newest.id, old.id, third.id, pinned.id]
        assert not used.path.exists()
        with pytest.raises(NoRoom, match="the cache has 3 MiB, of which 1 MiB are in use"):
            await store.begin(*described(content(2 * MIB + 1, 5)))
        assert len(store.blobs()) == 4
        assert await store.begin(*described(content(9 * MIB, 6)), bounded=False)
        assert [one.id for one in store.blobs() if one.whole] == [old.id, pinned.id]


async def test_the_order_of_use_outlasts_a_restart(tmp_path) -> None:
    store = store_in(tmp_path)
    first, second = [await fill(store, content(10, seed)) for seed in (1, 2)]
    os.utime(tmp_path / f"{first.id}.pieces", ns=(1, 10**18))
    os.utime(tmp_path / f"{second.id}.pieces", ns=(1, 10**17))
    assert [one.id for one in store_in(tmp_path).blobs()] == [first.id, second.id]


async def test_pruning_spares_pins_and_users_and_all_spares_users_alone(tmp_path) -> None:
    store = store_in(tmp_path / "blobs")
    pinned = await store.put(file_with(tmp_path, b"pinned"))
    used, idle = await fill(store, b"used"), await fill(store, b"idle")
    with store.using(used):
        assert [one.id for one in store.prune(everything=False)] == [idle.id]
        assert [one.id for one in store.prune(everything=True)] == [pinned.id]
    assert [one.id for one in store_in(tmp_path / "blobs").blobs()] == [used.id]


@pytest.mark.parametrize("what", ["folder", "missing", "pipe"])
async def test_what_is_no_file_is_refused_in_one_line(tmp_path, what) -> None:
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    store = store_in(tmp_path / "blobs")
    with pytest.raises(LocalError, match="No such file" if what == "missing" else "is no file") as caught:
        with trio.fail_after(5):
            await store.put(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


async def test_a_full_disk_is_named_with_the_way_out_and_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    store = store_in(tmp_path / "blobs")
    blob = await store.begin(*described(DATA))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(blob_file, "write_all", full)
    monkeypatch.setattr(blob_store, "_write_whole", full)
    for attempt in (lambda: blob.write(0, pieces_of(DATA)[0]), None):
        with pytest.raises(LocalError, match="is full; make room there, or run `peer cache prune`"):
            attempt() if attempt else await store.put(file_with(tmp_path, DATA))
    assert blob.held == 0 and not list((tmp_path / "blobs").glob("put-*"))


async def test_a_file_that_was_cut_short_is_noticed(tmp_path) -> None:
    blob = await fill(store_in(tmp_path), DATA)
    blob.path.chmod(0o600)
    os.truncate(blob.path, 10)
    with pytest.raises(LocalError, match="cut short"):
        blob.read(0)


@pytest.mark.parametrize("before", [True, False])
async def test_a_download_that_ends_as_the_same_content_is_kept_here_is_whole(tmp_path, before: bool) -> None:
    """As when a frame that is being fetched is rendered by this machine as well."""
    places = []

    async def sync(path) -> None:
        places.append(path)
        left = [DATA]

        def read(size: int) -> bytes:
            data, left[0] = left[0][:size], left[0][size:]
            return data

        if not before:
            path.stat()
        await store.keep(read, len(DATA), "frame")
        if before:
            path.stat()  # a thread that opens it only now

    store = BlobStore(tmp_path / "blobs", sync=sync)
    store.open()
    blob = await fill(store, DATA)
    assert places and blob.whole and blob.path.read_bytes() == DATA and not blob.path.with_suffix(".part").exists()
