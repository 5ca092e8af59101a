"""Blobs: one content has one id, and nothing but its own descriptor, digests and pieces passes for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.blobs import (
    BLOB_BYTES_MAX,
    BlobDescriptor,
    blob_digest,
    blob_id,
    check_descriptor,
    check_digests,
    describe,
    parse_blob_id,
)
from protocol.errors import BadFrame, BadRecord, LocalError
from protocol.ids import digest
from protocol.limits import BLOB_PIECE_BYTES
from protocol.messages.blob import BLOB_CODEC, Have, PieceHead, Want, pack_held, unpack_held

digest_lists = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


def described(digests: list[bytes], last_bytes: int = 7) -> BlobDescriptor:
    return describe((len(digests) - 1) * BLOB_PIECE_BYTES + last_bytes, digests)


@given(digest_lists, digest_lists, st.integers(1, BLOB_PIECE_BYTES), st.integers(1, BLOB_PIECE_BYTES))
def test_an_id_stands_for_one_size_and_one_list_of_digests(one, other, one_last, other_last) -> None:
    first, second = described(one, one_last), described(other, other_last)
    assert (first.id == second.id) == ((one, one_last) == (other, other_last))
    check_descriptor(first.id, first)
    assert check_digests(first, b"".join(one)) == tuple(one)
    if first.id != second.id:
        with pytest.raises(BadRecord):
            check_descriptor(first.id, second)


@given(digest_lists, st.data())
def test_a_changed_digest_or_order_or_number_is_refused(digests, data) -> None:
    descriptor = described(digests)
    packed = bytearray(b"".join(digests))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(packed), bytes(packed[:-1]), b"".join(digests) + bytes(32), b""):
        with pytest.raises(BadRecord):
            check_digests(descriptor, wrong)


@given(digest_lists, st.integers(1, BLOB_PIECE_BYTES))
def test_extents_cover_the_blob_without_gaps(digests, last_bytes) -> None:
    descriptor = described(digests, last_bytes)
    at = 0
    for piece in range(descriptor.pieces):
        start, size = descriptor.extent(piece)
        assert start == at and size > 0
        at += size
    assert at == descriptor.size_bytes
    for wrong in (-1, descriptor.pieces):
        with pytest.raises(LocalError):
            descriptor.extent(wrong)


def test_an_empty_blob_has_an_id_and_no_pieces() -> None:
    empty = describe(0, [])
    assert empty.pieces == 0 and check_digests(empty, b"") == () and empty.id != describe(1, [bytes(32)]).id


def test_the_id_is_fixed_for_good() -> None:
    assert describe(3, [digest(b"abc")]).id == "1d8db9ab0985433e06ef3b3047fb9f0bc6100e88eeb56d62d1546f4c6eef3aef"


def test_sizes_that_do_not_go_with_the_digests_are_refused() -> None:
    with pytest.raises(LocalError, match="digests for"):
        describe(BLOB_PIECE_BYTES + 1, [bytes(32)])
    with pytest.raises(LocalError, match="split it"):
        describe(BLOB_BYTES_MAX + 1, [])


@given(st.binary(min_size=32, max_size=32))
def test_ids_are_read_as_they_are_printed(name) -> None:
    assert parse_blob_id(f" {blob_id(name).upper()}\n") == blob_id(name) and blob_digest(blob_id(name)) == name


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 63, "0" * 65, "é" * 64, "0" * 1000])
def test_what_is_no_id_is_named_in_one_line(text) -> None:
    with pytest.raises(LocalError, match="no blob id") as caught:
        parse_blob_id(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@given(st.integers(1, 80).flatmap(lambda pieces: st.tuples(st.just(pieces), st.integers(1, (1 << pieces) - 1))))
def test_sets_of_pieces_travel_whole(case) -> None:
    pieces, held = case
    packed = pack_held(held, pieces)
    assert unpack_held(packed, pieces) == held
    assert unpack_held(b"\xff" * 10, pieces) == (1 << pieces) - 1


def test_messages_with_other_piece_sizes_or_impossible_sizes_are_refused() -> None:
    have = Have(descriptor=described([bytes(32)]))
    assert BLOB_CODEC.decode(BLOB_CODEC.encode(have)) == have
    odd = BlobDescriptor(size_bytes=1, piece_bytes=1, root=bytes(32))
    for wrong in (
        Have(descriptor=odd),
        Want(blob=b"short"),
        PieceHead(piece=0, size_bytes=0),
        PieceHead(piece=-1, size_bytes=1),
    ):
        with pytest.raises(BadFrame):
            BLOB_CODEC.decode(BLOB_CODEC.encode(wrong))
