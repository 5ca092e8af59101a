"""The contact table against a plain list of the same contacts."""

from hypothesis import given
from hypothesis import strategies as st
from kademlia.node import Node, NodeHeap
from kademlia.routing import KBucket

from dht.buckets import ID_BITS
from dht.contact_table import BACK_OFF_S, BUCKET_FILL_S, BUCKET_REFRESH_S, FAILURES_MAX, PING_FRESH_S, ContactTable
from dht.keys import distance
from protocol.ids import PeerId, node_id_of
from protocol.messages.dht import Contact

OWN = PeerId("own")
numbers = st.lists(st.integers(0, 400), unique=True, max_size=120)


def contact(number: int) -> Contact:
    return Contact(peer=PeerId(f"peer-{number}"), addresses=(f"/memory/{number}",))


@given(numbers, st.binary(min_size=20, max_size=20), st.integers(1, 30))
def test_the_kademlia_package_finds_the_same_closest(members: list[int], target: bytes, count: int) -> None:
    table = ContactTable(OWN, 0.0)
    for number in members:
        table.add(contact(number), 0.0)
    heap = NodeHeap(Node(target), count)
    heap.push([Node(node_id_of(one.peer)) for one in table])
    assert [node_id_of(one.peer) for one in table.closest(target, count)] == [node.id for node in heap]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=120))
def test_a_full_bucket_keeps_whom_the_kademlia_package_keeps(heard: list[int]) -> None:
    """Far contacts that come and come again: the same ones stay, and the same one is the least recently seen."""
    far = sharing_no_bit(61)
    table, bucket = with_neighbours(4), KBucket(0, 2**ID_BITS - 1, 4)
    for now, number in enumerate(heard):
        to_ping = table.add(far[number], PING_FRESH_S * (now + 1))
        kept = bucket.add_node(Node(node_id_of(far[number].peer)))
        assert kept == (far[number].peer in table)
        if to_ping is not None:
            assert node_id_of(to_ping.peer) == bucket.head().id
    assert {one.peer for one in far if one.peer in table} == {
        one.peer for one in far if node_id_of(one.peer) in bucket.nodes
    }


def sharing_no_bit(count: int, *, first: bool = True) -> list[Contact]:
    """Contacts of the farthest bucket: their first bit differs from that of our id (or does not, if not `first`)."""
    own = node_id_of(OWN)[0] >> 7
    found = (contact(number) for number in range(100_000))
    matching = (one for one in found if (node_id_of(one.peer)[0] >> 7 != own) is first)
    return [next(matching) for _ in range(count)]


def with_neighbours(bucket_size: int) -> ContactTable:
    """A table with a bucketful of contacts nearer than those of the farthest bucket."""
    table = ContactTable(OWN, 0.0, bucket_size=bucket_size)
    for one in sharing_no_bit(bucket_size, first=False):
        table.add(one, 0.0)
    return table


@given(numbers, st.binary(min_size=20, max_size=20), st.integers(1, 30))
def test_closest_is_exact(members: list[int], target: bytes, count: int) -> None:
    table = ContactTable(OWN, 0.0)
    for number in members:
        table.add(contact(number), 0.0)
    table.check_invariants()
    expected = sorted(table, key=lambda one: distance(target, node_id_of(one.peer)))[:count]
    assert table.closest(target, count) == expected


@given(numbers, st.lists(st.integers(0, 400)))
def test_buckets_stay_whole_when_contacts_come_and_fail(members: list[int], failing: list[int]) -> None:
    table = ContactTable(OWN, 0.0, bucket_size=3)
    for number in members:
        table.add(contact(number), 0.0)
    for number in failing:
        table.fail(contact(number).peer, 1.0)
        assert contact(number).peer not in table
    table.check_invariants()


@given(numbers)
def test_the_peers_nearest_to_us_are_always_kept(members: list[int]) -> None:
    table = ContactTable(OWN, 0.0, bucket_size=4)
    for number in members:
        table.add(contact(number), 0.0)
    own = node_id_of(OWN)
    true_nearest = sorted(map(contact, members), key=lambda one: distance(own, node_id_of(one.peer)))[:4]
    assert table.closest(own, 4) == true_nearest


def test_a_full_bucket_asks_to_ping_its_oldest_and_keeps_it_when_it_lives() -> None:
    table = with_neighbours(2)
    first, second, third = sharing_no_bit(3)
    assert table.add(first, 0.0) is None
    assert table.add(second, 1.0) is None
    assert table.add(third, 2.0) is None, "the oldest was heard of just now"
    assert third.peer not in table
    assert table.add(third, PING_FRESH_S + 2.0) == first
    table.add(first, PING_FRESH_S + 3.0)
    assert first.peer in table and second.peer in table and third.peer not in table


def test_a_newcomer_takes_the_place_of_a_contact_that_fails() -> None:
    table = with_neighbours(2)
    first, second, third = sharing_no_bit(3)
    for one in (first, second, third):
        table.add(one, 0.0)
    table.fail(first.peer, 1.0)
    assert [one.peer in table for one in (first, second, third)] == [False, True, True]


@given(st.permutations(range(6)))
def test_one_that_waits_and_then_gets_in_by_itself_waits_no_more(order: list[int]) -> None:
    table = with_neighbours(2)
    far = sharing_no_bit(6)
    for one in far:
        table.add(one, 0.0)
    waiting = [one for one in far if one.peer not in table]
    for one in sharing_no_bit(2, first=False):
        table.fail(one.peer, 1.0)
    for one in waiting[-2:]:
        table.add(one, 2.0)
    for number in order:
        table.fail(far[number].peer, 3.0)
        table.check_invariants()


@given(st.lists(st.integers(0, 2000), unique=True, min_size=30, max_size=120))
def test_a_bucket_of_the_neighbourhood_takes_twice_its_size_and_no_more(members: list[int]) -> None:
    table = ContactTable(OWN, 0.0, bucket_size=3)
    own = node_id_of(OWN)
    # The farthest first: each of them is nearest when it comes.
    for one in sorted(map(contact, members), key=lambda one: distance(own, node_id_of(one.peer)), reverse=True):
        table.add(one, 0.0)
        table.check_invariants()


def test_a_failed_contact_is_left_alone_then_retried_a_few_times() -> None:
    table = ContactTable(OWN, 0.0)
    for number in (1, 2, 3):
        table.add(contact(number), 0.0)
    table.fail(contact(1).peer, 0.0)
    assert table.is_backed_off(contact(1).peer, BACK_OFF_S - 1)
    assert not table.is_backed_off(contact(1).peer, BACK_OFF_S)
    assert table.retries_due(BACK_OFF_S - 1) == []
    now, given = 0.0, 0
    while due := table.retries_due(now := now + 10_000.0):
        assert due == [contact(1)]
        given += 1
        table.fail(contact(1).peer, now)
    assert given == FAILURES_MAX - 1
    table.add(contact(1), now)
    assert contact(1).peer in table and not table.is_backed_off(contact(1).peer, now)


def test_when_most_have_failed_all_are_tried_again_and_none_is_given_up() -> None:
    table = ContactTable(OWN, 0.0)
    everybody = [contact(number) for number in range(10)]
    for one in everybody:
        table.add(one, 0.0)
    for now in range(2 * FAILURES_MAX):
        for one in everybody[:9]:
            table.fail(one.peer, float(now))
        assert table.retries_due(float(now)) == everybody[:9]


def test_what_was_failing_is_forgiven_on_request() -> None:
    table = ContactTable(OWN, 0.0)
    table.fail(contact(1).peer, 0.0)
    table.forgive(contact(1).peer)
    assert not table.is_backed_off(contact(1).peer, 0.0)


def test_own_id_is_never_a_contact() -> None:
    table = ContactTable(OWN, 0.0)
    assert table.add(Contact(peer=OWN), 0.0) is None
    assert len(table) == 0


def test_empty_buckets_are_looked_into_after_a_while_and_all_again_later() -> None:
    table = ContactTable(OWN, 0.0)
    assert table.stale_ranges(BUCKET_FILL_S - 1) == []
    (empty,) = table.stale_ranges(BUCKET_FILL_S)
    assert empty == ((0, 2**159 - 1) if node_id_of(OWN)[0] & 0x80 else (2**159, 2**160 - 1))
    table.add(sharing_no_bit(1)[0], BUCKET_FILL_S)
    assert table.stale_ranges(BUCKET_REFRESH_S - 1) == [], "somebody is known there now"
    assert table.stale_ranges(BUCKET_REFRESH_S) == [empty]
    table.mark_refreshed(empty[0].to_bytes(20), BUCKET_REFRESH_S)
    assert table.stale_ranges(BUCKET_REFRESH_S) == []
    table.fail(sharing_no_bit(1)[0].peer, BUCKET_REFRESH_S)
    assert table.stale_ranges(2 * BUCKET_REFRESH_S - 1) == [], "it was looked into not long ago"
    assert table.stale_ranges(2 * BUCKET_REFRESH_S) == [empty]


def test_far_ranges_of_which_few_are_known_are_sparse_and_those_among_the_neighbours_are_not() -> None:
    table = with_neighbours(4)
    assert table.sparse_ranges() == [table._range(0)], "half of all ids, and we know nobody there"
    table.add(sharing_no_bit(1)[0], 0.0)
    assert table.sparse_ranges() == []
    assert ContactTable(OWN, 0.0).sparse_ranges() == []
