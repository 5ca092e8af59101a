"""What a holder keeps, refuses, samples and estimates."""

from collections import Counter
from random import Random

import msgspec
import pytest
from dht_records import NOW_UNIX_S, accusation, capability, identity, provider, record
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.keys import SHARD_BITS, accusation_key, belongs, blob_key, directory_key, keys_of, names_of, shard_bits
from dht.record_set import Held, RecordSet
from dht.record_store import LateRecord, RecordStore
from protocol.errors import BadRecord, BadSignature
from protocol.framing import frame
from protocol.ids import PeerId
from protocol.limits import (
    ADDRESS_LENGTH_MAX,
    ADDRESSES_PER_PEER_MAX,
    CONTACTS_PER_REPLY_MAX,
    RECORD_LIFETIME_S,
    RECORD_SIZE_BYTES_MAX,
    RECORDS_PER_REPLY_MAX,
)
from protocol.messages.dht import DHT_CODEC, Contact, Records
from protocol.signing import Envelope

KEY = directory_key("runtime:python")


def store(**limits: int) -> RecordStore:
    return RecordStore(PeerId("holder"), Random(1), **limits)


def test_keeps_one_record_per_peer_and_the_newest_wins() -> None:
    records = store()
    assert records.add(KEY, record(1, 5), NOW_UNIX_S).accepted
    assert records.add(KEY, record(1, 6), NOW_UNIX_S).accepted
    assert records.sample(KEY, NOW_UNIX_S) == [record(1, 6)]
    assert len(records) == 1


def test_refuses_a_replayed_record_with_the_reason() -> None:
    records = store()
    records.add(KEY, record(1, 6), NOW_UNIX_S)
    kept = records.add(KEY, record(1, 5), NOW_UNIX_S)
    assert not kept.accepted and "replayed" in kept.reason
    assert records.sample(KEY, NOW_UNIX_S) == [record(1, 6)]


def test_the_same_record_again_is_welcome_but_not_another_of_its_sequence() -> None:
    records = store()
    records.add(KEY, record(1), NOW_UNIX_S)
    assert records.add(KEY, record(1), NOW_UNIX_S).accepted
    twin = identity(1).sign(capability(1, runtimes=("python", "wasm")))
    assert "two records" in records.add(KEY, twin, NOW_UNIX_S).reason


def test_refuses_expired_and_forgets_what_expires() -> None:
    records = store()
    records.add(KEY, record(1), NOW_UNIX_S)
    later = NOW_UNIX_S + RECORD_LIFETIME_S
    assert records.sample(KEY, later) == []
    assert records.total_estimate(KEY, later) == 0
    records.expire(later)
    assert len(records) == records.key_count == 0
    with pytest.raises(LateRecord, match="expired"):
        records.add(KEY, record(2), later)
    with pytest.raises(BadRecord, match="expired") as refused:
        records.add(KEY, record(2), later + 1000)
    assert not isinstance(refused.value, LateRecord)


def test_refuses_a_record_that_would_live_too_long() -> None:
    eternal = identity(1).sign(capability(1, lifetime_s=1e6))
    with pytest.raises(BadRecord, match="longer"):
        store().add(KEY, eternal, NOW_UNIX_S)


def test_refuses_forged_records() -> None:
    other_signer = msgspec.structs.replace(record(1), signer=identity(2).peer_id)
    about_another = identity(2).sign(capability(1))
    changed = msgspec.structs.replace(record(1), body=record(1, 2).body)
    for forged in (other_signer, about_another, changed):
        with pytest.raises(BadSignature):
            store().add(KEY, forged, NOW_UNIX_S)


def test_a_known_record_does_not_vouch_for_a_forged_one() -> None:
    records = store()
    records.add(KEY, record(1), NOW_UNIX_S)
    with pytest.raises(BadSignature):
        records.add(KEY, msgspec.structs.replace(record(1, 2), signature=record(1).signature), NOW_UNIX_S)


def test_refuses_an_oversized_record() -> None:
    big = identity(1).sign(capability(1, addresses=("x" * 256,) * 16))
    assert len(big.body) > RECORD_SIZE_BYTES_MAX
    with pytest.raises(BadRecord, match="bytes"):
        store().add(KEY, big, NOW_UNIX_S)


def test_refuses_a_record_under_a_key_that_it_does_not_belong_under() -> None:
    for key in (directory_key("runtime:wasm"), bytes(20), directory_key("runtime:python", wrong_shard(1))):
        with pytest.raises(BadRecord, match="belong"):
            store().add(key, record(1), NOW_UNIX_S)
    right = directory_key("runtime:python", shard_bits(identity(1).peer_id)[:SHARD_BITS])
    assert store().add(right, record(1), NOW_UNIX_S).accepted


def test_an_accusation_lies_under_the_key_of_the_accused_and_nowhere_else() -> None:
    key = accusation_key(identity(2).peer_id)
    kept = store()
    assert kept.add(key, accusation(1, 2), NOW_UNIX_S).accepted and kept.add(key, accusation(3, 2), NOW_UNIX_S).accepted
    assert {one.signer for one in kept.sample(key, NOW_UNIX_S)} == {identity(1).peer_id, identity(3).peer_id}
    for wrong in (KEY, accusation_key(identity(1).peer_id)):
        with pytest.raises(BadRecord, match="belong"):
            store().add(wrong, accusation(1, 2), NOW_UNIX_S)
    with pytest.raises(BadRecord, match="belong"):
        store().add(key, record(2), NOW_UNIX_S)


def test_accusations_are_checked_as_all_records() -> None:
    key = accusation_key(identity(2).peer_id)
    with pytest.raises(BadRecord, match="longer"):
        store().add(key, accusation(1, 2, lifetime_s=1e6), NOW_UNIX_S)
    with pytest.raises(BadRecord, match="expired"):
        store().add(key, accusation(1, 2, lifetime_s=-1e6), NOW_UNIX_S)
    stolen = msgspec.structs.replace(accusation(1, 2), signer=identity(3).peer_id)
    with pytest.raises(BadSignature):
        store().add(key, stolen, NOW_UNIX_S)


def test_a_provider_record_lies_under_the_key_of_its_blob_and_nowhere_else() -> None:
    blob, other = bytes(32), bytes(31) + b"1"
    kept = store()
    assert kept.add(blob_key(blob), provider(1, blob), NOW_UNIX_S).accepted
    assert kept.add(blob_key(blob), provider(2, blob), NOW_UNIX_S).accepted
    for wrong in (KEY, blob_key(other), accusation_key(identity(1).peer_id)):
        with pytest.raises(BadRecord, match="does not belong"):
            store().add(wrong, provider(1, blob), NOW_UNIX_S)
    for lifetime_s in (-1e6, 1e6):
        with pytest.raises(BadRecord):
            store().add(blob_key(blob), provider(1, blob, lifetime_s=lifetime_s), NOW_UNIX_S)
    stolen = msgspec.structs.replace(provider(1, blob), signer=identity(3).peer_id)
    with pytest.raises(BadSignature):
        store().add(blob_key(blob), stolen, NOW_UNIX_S)


def test_a_capability_that_looks_like_an_accusation_hurts_itself_alone() -> None:
    strange = identity(1).sign(capability(1, addresses=("gaccused",)))
    with pytest.raises(BadSignature):
        store().add(KEY, strange, NOW_UNIX_S)


def wrong_shard(number: int) -> str:
    right = shard_bits(identity(number).peer_id)[:SHARD_BITS]
    return right[:-1] + ("1" if right[-1] == "0" else "0")


def test_names_and_keys_of_a_capability() -> None:
    both = capability(1, runtimes=("wasm", "python", "python"))
    assert names_of(both) == ["runtime:python", "runtime:wasm"]
    assert names_of(capability(1, runtimes=("wasm",))) == ["peer", "runtime:wasm"], "nobody would ask for it by name"
    assert names_of(capability(1, runtimes=())) == ["peer"]
    assert all(belongs(key, both) for key in keys_of(both))


def held(number: int, *, origin: str = "", expires_at_unix_s: float = 100.0, sequence: int = 1) -> Held:
    envelope = Envelope(signer=PeerId(f"peer-{number}"), body=bytes([sequence]), signature=bytes(64))
    return Held(envelope, sequence, expires_at_unix_s, origin)


def test_a_full_key_keeps_a_uniform_sample() -> None:
    """Over many holders every one of 200 peers is kept about equally often, whenever it came."""
    kept: Counter[PeerId] = Counter()
    holders, peers, room = 400, 200, 40
    for holder in range(holders):
        records = RecordSet(holder.to_bytes(4), room)
        for number in range(peers):
            records.add(held(number), 0.0)
        kept.update(one.peer for one in records.live(0.0))
    expected = holders * room / peers
    chi_squared = sum((kept[PeerId(f"peer-{n}")] - expected) ** 2 / expected for n in range(peers))
    # 199 degrees of freedom, and drawing without replacement makes it smaller: 5 standard deviations.
    assert chi_squared < peers + 5 * (2 * peers) ** 0.5


def test_publishing_again_and_again_does_not_push_others_out() -> None:
    records = RecordSet(b"salt", 40)
    for number in range(200):
        records.add(held(number), 0.0)
    before = {one.peer for one in records.live(0.0)}
    for sequence in range(2, 200):
        records.add(held(150, sequence=sequence), 0.0)
    assert {one.peer for one in records.live(0.0)} == before


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 4000), st.binary(min_size=4, max_size=4))
def test_the_estimate_is_exact_at_first_and_close_later(peers: int, salt: bytes) -> None:
    records = RecordSet(salt, 256)
    for number in range(peers):
        records.add(held(number), 0.0)
    estimate = records.total_estimate(0.0)
    assert estimate == peers if peers <= 256 else abs(estimate - peers) < 5 * peers / 254**0.5


def test_the_estimate_follows_a_key_that_becomes_less_popular() -> None:
    records = RecordSet(b"salt", 50)
    for number in range(1000):
        records.add(held(number, expires_at_unix_s=100.0), 0.0)
    for number in range(1000, 1020):
        records.add(held(number, expires_at_unix_s=200.0), 50.0)
    assert 600 < records.total_estimate(60.0) < 1500
    # Those of the second wave that were turned away while the key was full may publish again.
    for number in range(1000, 1020):
        records.add(held(number, expires_at_unix_s=300.0, sequence=2), 110.0)
    records.expire(201.0)
    assert records.total_estimate(201.0) == len(records) == 20


def test_one_network_does_not_crowd_out_the_others() -> None:
    records = RecordSet(b"salt", 40)
    for number in range(30):
        records.add(held(number, origin=f"network {number}"), 0.0)
    for number in range(1000, 2000):
        records.add(held(number, origin="flooder"), 0.0)
    origins = Counter(one.origin for one in records.live(0.0))
    assert origins["flooder"] == 10
    assert len(origins) == 31


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3), st.integers(0, 3)), max_size=60))
def test_bounds_hold_whatever_comes(stores: list[tuple[int, int, int]]) -> None:
    records = store(keys_max=3, records_max=12, records_per_key_max=5)
    for number, sequence, level in stores:
        key = directory_key("runtime:python", shard_bits(identity(number).peer_id)[: level * SHARD_BITS])
        kept = records.add(key, record(number, sequence), NOW_UNIX_S)
        assert kept.accepted or kept.reason
        records.check_invariants()


def test_the_nearest_keys_stay_when_there_are_too_many() -> None:
    records = store(keys_max=2)
    keys = [directory_key(name) for name in ("runtime:python", "runtime:a", "runtime:b", "runtime:c", "runtime:d")]
    envelope = identity(1).sign(capability(1, runtimes=("python", "a", "b", "c", "d")))
    refused = [records.add(key, envelope, NOW_UNIX_S).reason for key in (*keys, *keys)]
    assert records.key_count == 2
    assert sum(bool(reason) for reason in refused[5:]) == 3
    assert all("nearer" in reason for reason in refused if reason)


def test_the_largest_possible_reply_fits_into_a_frame() -> None:
    envelope = Envelope(signer=PeerId("x" * 64), body=bytes(RECORD_SIZE_BYTES_MAX), signature=bytes(64))
    contact = Contact(peer=PeerId("x" * 64), addresses=("x" * ADDRESS_LENGTH_MAX,) * ADDRESSES_PER_PEER_MAX)
    reply = Records(
        request_id=2**53,
        records=(envelope,) * RECORDS_PER_REPLY_MAX,
        total_estimate=2**53,
        contacts=(contact,) * CONTACTS_PER_REPLY_MAX,
    )
    frame(DHT_CODEC.encode(reply))


def test_an_answer_is_a_random_part() -> None:
    records = store()
    for number in range(100):
        records.add(KEY, record(number), NOW_UNIX_S)
    answers = [records.sample(KEY, NOW_UNIX_S) for _ in range(2)]
    assert all(len(answer) == len({one.signer for one in answer}) == RECORDS_PER_REPLY_MAX for answer in answers)
    assert answers[0] != answers[1]
    assert records.total_estimate(KEY, NOW_UNIX_S) == 100
