"""The DHT alone: a network that is exact when small, and the same again from the same seed."""

import pytest

from simulations.growth import Growth


@pytest.mark.slow
def test_a_small_network_finds_exactly_the_closest() -> None:
    joined: list[int] = []
    one = Growth(60, 3, 10.0, joined.append).run()
    assert one.exact_share == 1.0 and one.found_share == 1.0
    assert one.messages > 60 * 20 and one.bytes_sent > 0 and one.lookup_s > 0
    assert joined == sorted(joined) and joined[-1] <= 60


@pytest.mark.slow
def test_a_network_grows_the_same_way_again_from_the_same_seed_alone() -> None:
    one, again, other = (Growth(20, seed, 10.0).run() for seed in (3, 3, 4))
    assert again.trace_hash == one.trace_hash != other.trace_hash
