"""The contact table against a plain list of the same contacts."""

from hypothesis import given
from hypothesis import strategies as st

from dht.buckets import BucketTable, TableNode
from dht.contact_table import BACK_OFF_S, FAILURES_MAX, PING_FRESH_S, ContactTable
from dht.keys import distance
from protocol.ids import PeerId, node_id_of
from protocol.messages.dht import Contact

OWN = PeerId("own")
numbers = st.lists(st.integers(0, 400), unique=True, max_size=120)


def contact(number: int) -> Contact:
    return Contact(peer=PeerId(f"peer-{number}"), addresses=(f"/memory/{number}",))


def in_same_bucket(count: int) -> list[Contact]:
    """Contacts that share their first seven bits and differ from our id in the first."""
    own = node_id_of(OWN)
    wanted = (own[0] ^ 0x80) & 0xFE
    found = (contact(number) for number in range(100_000))
    matching = (one for one in found if node_id_of(one.peer)[0] & 0xFE == wanted)
    return [next(matching) for _ in range(count)]


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


def test_an_id_at_the_upper_edge_of_a_bucket_lies_in_that_bucket() -> None:
    node = TableNode(contact(1))
    table = BucketTable(node, 20, 0.0)
    table.split_bucket(0)
    edge = TableNode(contact(2))
    edge.long_id = table.buckets[0].range[1]
    assert table.get_bucket_for(edge) == 0
    edge.long_id += 1
    assert table.get_bucket_for(edge) == 1
    edge.long_id = 2**160 - 1
    assert table.get_bucket_for(edge) == 1


def test_a_full_bucket_asks_to_ping_its_oldest_and_keeps_it_when_it_lives() -> None:
    table = ContactTable(OWN, 0.0, bucket_size=2)
    # Buckets of other halves split down to a depth of 5: take contacts that agree on more bits than that.
    first, second, third = in_same_bucket(3)
    assert table.add(first, 0.0) is None
    assert table.add(second, 1.0) is None
    assert table.add(third, 2.0) is None, "the oldest was heard of just now"
    assert table.add(third, PING_FRESH_S + 2.0) == first
    table.add(first, PING_FRESH_S + 3.0)
    assert first.peer in table and second.peer in table and third.peer not in table


def test_a_newcomer_takes_the_place_of_a_contact_that_fails() -> None:
    table = ContactTable(OWN, 0.0, bucket_size=2)
    first, second, third = in_same_bucket(3)
    for one in (first, second, third):
        table.add(one, 0.0)
    table.fail(first.peer, 1.0)
    assert [one.peer in table for one in (first, second, third)] == [False, True, True]


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


def test_ranges_get_stale_and_fresh() -> None:
    table = ContactTable(OWN, 0.0)
    assert table.stale_ranges(899.0) == []
    assert table.stale_ranges(900.0) == [(0, 2**160 - 1)]
    table.mark_refreshed(node_id_of(OWN), 900.0)
    assert table.stale_ranges(900.0) == []
