"""Properties of the pure lookup: it ends, is bounded, exact, and its paths share nobody."""

import math
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dht.contact_table import ContactTable
from dht.keys import distance
from dht.lookup import Ask, Finished, Lookup, State, Wait
from protocol.ids import PeerId, node_id_of
from protocol.messages.dht import Contact

COUNT = 6
targets = st.binary(min_size=20, max_size=20)


def contact(number: int) -> Contact:
    return Contact(peer=PeerId(f"peer-{number}"), addresses=(f"/memory/{number}",))


def by_distance(target: bytes, contacts: list[Contact]) -> list[Contact]:
    return sorted(contacts, key=lambda one: distance(target, node_id_of(one.peer)))


class Network:
    """A static network: who knows whom, who is dead, who is slow; drives a lookup in virtual time."""

    def __init__(self, known: dict[PeerId, list[Contact]], random: Random, *, dead: set[PeerId], slow: set[PeerId]):
        self.known, self.random, self.dead, self.slow = known, random, dead, slow
        self.now = 0.0
        self.asked: list[PeerId] = []

    def run(self, lookup: Lookup) -> tuple[Contact, ...]:
        answers: list[tuple[float, PeerId]] = []
        for _ in range(10_000):
            match lookup.next(self.now):
                case Finished(closest):
                    return closest
                case Ask(one):
                    self.asked.append(one.peer)
                    delay = 5.0 if one.peer in self.dead else 2.5 if one.peer in self.slow else self.random.random() / 2
                    answers.append((self.now + delay, one.peer))
                case Wait(until):
                    assert answers, "waits for nobody"
                    first = min(answers)
                    self.now = max(self.now, min(until, first[0]))
                    if first[0] <= until:
                        answers.remove(first)
                        self._answer(lookup, first[1])
        raise AssertionError("the lookup does not end")

    def _answer(self, lookup: Lookup, peer: PeerId) -> None:
        if peer in self.dead:
            lookup.on_failure(peer, self.now)
        else:
            lookup.on_success(peer, self.known[peer], self.now)


def kademlia_network(size: int, target: bytes) -> dict[PeerId, list[Contact]]:
    everybody = [contact(number) for number in range(size)]
    known = {}
    for one in everybody:
        table = ContactTable(one.peer, 0.0, bucket_size=COUNT)
        for other in everybody:
            table.add(other, 0.0)
        known[one.peer] = table.closest(target, COUNT)
    return known


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), targets, st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4))
def test_finds_the_true_closest(size: int, target: bytes, seed: int, paths: int, seed_count: int) -> None:
    random = Random(seed)
    known = kademlia_network(size, target)
    everybody = [contact(number) for number in range(size)]
    seeds = random.sample(everybody, min(seed_count, size))
    lookup = Lookup(target, seeds, count=COUNT, paths=paths)
    closest = Network(known, random, dead=set(), slow=set()).run(lookup)
    assert list(closest) == by_distance(target, everybody)[:COUNT]


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[PeerId, list[Contact]], Random, set[PeerId], set[PeerId]]:
    """Any graph at all, with dead and slow contacts."""
    size = draw(st.integers(1, 60))
    random = Random(draw(st.integers(0, 2**32)))
    everybody = [contact(number) for number in range(size)]
    known = {one.peer: random.sample(everybody, random.randint(0, min(20, size))) for one in everybody}
    dead = {one.peer for one in everybody if random.random() < draw(st.floats(0, 1))}
    slow = {one.peer for one in everybody if random.random() < draw(st.floats(0, 1))}
    return known, random, dead, slow


@settings(deadline=None, max_examples=150)
@given(networks(), targets, st.integers(1, 4), st.integers(1, 12), st.integers(1, 40))
def test_ends_is_bounded_asks_once_and_keeps_paths_apart(network, target, paths, concurrency, requests_max) -> None:
    known, random, dead, slow = network
    driver = Network(known, random, dead=dead, slow=slow)
    seeds = random.sample([contact(n) for n in range(len(known))], min(3, len(known)))
    own = contact(0).peer
    lookup = Lookup(
        target, seeds, own=own, count=COUNT, paths=paths, concurrency=concurrency, requests_max=requests_max
    )
    closest = driver.run(lookup)
    assert len(driver.asked) == len(set(driver.asked)) <= requests_max
    assert own not in driver.asked
    used = [{one.peer for one in lookup.used_by(path)} for path in range(paths)]
    assert sum(map(len, used)) == len(set().union(*used)) == lookup.requests
    assert not dead & {one.peer for one in closest}
    assert list(closest) == by_distance(target, list(closest))
    # Everything that was found and lives was asked, or is farther than all of the result.
    assert all(lookup.state_of(one.peer) is State.ANSWERED for one in closest)


@settings(deadline=None, max_examples=60)
@given(st.integers(10, 60), targets, st.integers(0, 2**32), st.integers(0, 9))
def test_dead_contacts_cost_one_stall_between_them(size: int, target: bytes, seed: int, dead_count: int) -> None:
    """However many of the closest are silently dead: they are asked at the same time, once."""
    random = Random(seed)
    everybody = by_distance(target, [contact(number) for number in range(size)])
    known = {one.peer: everybody[:20] for one in everybody}
    dead = {one.peer for one in random.sample(everybody[:20], min(dead_count, size - 1))}
    driver = Network(known, random, dead=dead, slow=set())
    lookup = Lookup(target, everybody[:20], count=20, concurrency=40)
    lookup_end = driver.run(lookup)
    assert {one.peer for one in lookup_end} == {one.peer for one in everybody[:20]} - dead
    # Two rounds of half a second at most, and one stall of a second.
    assert driver.now <= 1.0 + 1.0 + (1.0 if dead else 0.0)


def test_a_slow_contact_does_not_hold_up_the_window_and_its_late_answer_counts() -> None:
    lookup = Lookup(bytes(20), [contact(1), contact(2), contact(3)], count=2, concurrency=1, paths=1, stall_s=1.0)
    first = lookup.next(0.0)
    assert isinstance(first, Ask)
    assert lookup.next(0.5) == Wait(1.0)
    second = lookup.next(1.0)
    assert isinstance(second, Ask) and second != first
    assert lookup.state_of(first.contact.peer) is State.STALLED
    lookup.on_success(first.contact.peer, [], 1.1)
    lookup.on_success(second.contact.peer, [], 1.2)
    assert lookup.next(1.2) == Finished(tuple(by_distance(bytes(20), [first.contact, second.contact])))


def test_while_nobody_has_answered_it_waits_for_those_who_are_late() -> None:
    lookup = Lookup(bytes(20), [contact(1), contact(2)], count=2, concurrency=2, paths=1, stall_s=1.0)
    assert [type(lookup.next(0.0)) for _ in range(2)] == [Ask, Ask]
    assert lookup.next(2.0) == Wait(math.inf)
    lookup.on_failure(contact(1).peer, 3.0)
    assert lookup.next(3.0) == Wait(math.inf)
    lookup.on_success(contact(2).peer, [], 4.0)
    assert lookup.next(4.0) == Finished((contact(2),))


def test_once_somebody_has_answered_the_late_hold_up_nobody() -> None:
    lookup = Lookup(bytes(20), [contact(1), contact(2)], count=2, concurrency=2, paths=1, stall_s=1.0)
    assert [type(lookup.next(0.0)) for _ in range(2)] == [Ask, Ask]
    lookup.on_success(contact(2).peer, [], 0.1)
    assert lookup.next(1.0) == Finished((contact(2),))


def test_a_contact_that_failed_on_one_path_takes_no_place_on_the_other() -> None:
    everybody = by_distance(bytes(20), [contact(number) for number in range(6)])
    near, *rest = everybody
    lookup = Lookup(bytes(20), rest[:2], count=2, paths=2, concurrency=4)
    asked = [lookup.next(0.0), lookup.next(0.0)]
    assert [ask.contact for ask in asked if isinstance(ask, Ask)] == rest[:2]
    lookup.on_success(rest[0].peer, [near], 0.0)
    assert lookup.next(0.0) == Ask(near)
    lookup.on_failure(near.peer, 0.0)
    lookup.on_success(rest[1].peer, [near, rest[2]], 0.0)
    assert lookup.next(0.0) == Ask(rest[2]), "with the failed one in its place, the path would have ended"
    lookup.on_success(rest[2].peer, [], 0.0)
    assert lookup.next(0.0) == Finished((rest[0], rest[1]))


def test_no_contacts_is_an_empty_result() -> None:
    assert Lookup(bytes(20), []).next(0.0) == Finished(())
