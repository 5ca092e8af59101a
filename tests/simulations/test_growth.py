"""The DHT alone: a network that is exact when small, and the same again from the same seed."""

import pytest

from simulations.growth import Growth


@pytest.mark.slow
def test_a_small_network_finds_exactly_the_closest_and_grows_the_same_way_again() -> None:
    joined: list[int] = []
    one = Growth(60, 3, 10.0, joined.append).run()
    assert one.exact_share == 1.0 and one.found_share == 1.0
    assert one.messages > 60 * 20 and one.bytes_sent > 0 and one.lookup_s > 0
    assert joined == sorted(joined) and joined[-1] <= 60
    again = Growth(60, 3, 10.0).run()
    assert again.trace_hash == one.trace_hash != Growth(60, 4, 10.0).run().trace_hash
