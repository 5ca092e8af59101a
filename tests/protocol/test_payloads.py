"""Payloads in parts: whole again at the other end, bounded, and nothing out of order."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import BadFrame, LocalError
from protocol.framing import frame
from protocol.ids import digest
from protocol.limits import INLINE_SIZE_BYTES_MAX, MIB, PART_SIZE_BYTES_MAX, PAYLOADS_WAITING_MAX
from protocol.messages.job import JOB_CODEC, PayloadPart
from protocol.payloads import PayloadCollector, inline_or_parts, parts_of

BIG = bytes(range(256)) * (PART_SIZE_BYTES_MAX // 256) * 2 + b"the end"


@given(st.lists(st.sampled_from([b"a", b"bc" * PART_SIZE_BYTES_MAX, BIG, BIG[1:]]), min_size=1, max_size=4), st.data())
def test_payloads_come_out_as_they_went_in(payloads: list[bytes], data: st.DataObject) -> None:
    collector = PayloadCollector(16 * MIB)
    for payload in payloads:
        for part in parts_of(payload):
            collector.feed(part)
    for payload in data.draw(st.permutations(payloads)):
        assert collector.take(digest(payload)) == payload
    assert collector.size_bytes == 0
    with pytest.raises(BadFrame, match="no payload was sent"):
        collector.take(digest(payloads[0]))


def test_every_part_fits_a_frame() -> None:
    for part in parts_of(BIG):
        assert frame(JOB_CODEC.encode(part))


def test_small_data_is_inline_and_large_data_is_in_parts() -> None:
    assert inline_or_parts(BIG[:INLINE_SIZE_BYTES_MAX]) == (BIG[:INLINE_SIZE_BYTES_MAX], ())
    inline, parts = inline_or_parts(BIG)
    assert inline is None
    assert b"".join(part.data for part in parts) == BIG


def test_a_message_is_opened_with_either() -> None:
    collector = PayloadCollector(MIB)
    for part in parts_of(BIG):
        collector.feed(part)
    assert collector.open(digest(BIG), None) == BIG
    assert collector.open(digest(b"small"), b"small") == b"small"
    with pytest.raises(BadFrame, match="inline data does not have the digest"):
        collector.open(digest(b"small"), b"other")


def test_an_empty_payload_in_parts_is_our_mistake() -> None:
    with pytest.raises(LocalError, match="goes inline"):
        list(parts_of(b""))


FIRST, SECOND, LAST = parts_of(BIG)
replaced = msgspec.structs.replace


@pytest.mark.parametrize(
    ("parts", "story"),
    [
        ([SECOND], "0 is due"),
        ([FIRST, FIRST], f"{PART_SIZE_BYTES_MAX} is due"),
        ([FIRST, LAST], f"{PART_SIZE_BYTES_MAX} is due"),
        ([FIRST, replaced(SECOND, size_bytes=len(BIG) + 1)], "another payload"),
        ([FIRST, replaced(SECOND, digest=digest(b"?"))], "another payload"),
        ([FIRST, replaced(SECOND, data=b"")], "a part of 0 bytes"),
        ([FIRST, SECOND, replaced(LAST, data=LAST.data + b"!")], "announced size or digest"),
        ([FIRST, SECOND, replaced(LAST, data=b"the enD")], "announced size or digest"),
        ([replaced(FIRST, size_bytes=MIB + 1)], "in all"),
        ([PayloadPart(digest=digest(b""), offset=0, size_bytes=0, data=b"")], "a part of 0 bytes"),
        ([PayloadPart(digest=digest(b"ab"), offset=0, size_bytes=1, data=b"ab")], "announced size or digest"),
    ],
)
def test_what_is_out_of_order_is_the_other_sides_fault(parts: list[PayloadPart], story: str) -> None:
    collector = PayloadCollector(MIB)
    with pytest.raises(BadFrame, match=story):
        for part in parts:
            collector.feed(part)


def test_the_total_is_bounded_over_all_payloads() -> None:
    collector = PayloadCollector(len(BIG) * 2 - 1)
    for part in parts_of(BIG):
        collector.feed(part)
    with pytest.raises(BadFrame, match="in all"):
        collector.feed(FIRST)
    collector.take(digest(BIG))
    collector.feed(FIRST)


def test_the_number_of_small_payloads_is_bounded() -> None:
    collector = PayloadCollector(MIB)
    one = next(parts_of(b"x"))
    for _ in range(PAYLOADS_WAITING_MAX):
        collector.feed(one)
    with pytest.raises(BadFrame, match=f"more than {PAYLOADS_WAITING_MAX} payloads"):
        collector.feed(one)
