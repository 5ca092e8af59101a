"""Who looks like one party."""

import pytest

from protocol.parties import party_of


@pytest.mark.parametrize(
    ("address", "party"),
    [
        ("/ip4/8.8.8.7/tcp/4001", "8.8.8.0/24"),
        ("/ip4/8.8.8.200/tcp/1", "8.8.8.0/24"),
        ("/ip4/8.8.9.7/tcp/4001", "8.8.9.0/24"),
        ("/ip6/2606:4700:1:2::3/tcp/4001", "2606:4700:1::/48"),
        ("/ip6/2606:4700:1:ffff::3/tcp/4001", "2606:4700:1::/48"),
        ("/ip6/::ffff:8.8.8.7/tcp/4001", "8.8.8.0/24"),
    ],
)
def test_public_addresses_belong_to_their_network(address: str, party: str) -> None:
    assert party_of(address) == party


SAYS_NOTHING = """
    / /ip4 8.8.8.8 /ip4/x/tcp/1 /dns4/example.org/tcp/1 /ip6/::1/tcp/1 /ip6/fe80::1/tcp/1 /ip6/fd00::1/tcp/1
    /ip4/127.0.0.1/tcp/1 /ip4/10.1.2.3/tcp/1 /ip4/192.168.1.2/tcp/1 /ip4/100.64.0.1/tcp/1
"""


@pytest.mark.parametrize("address", [None, "", *SAYS_NOTHING.split()])
def test_other_addresses_say_nothing(address: str | None) -> None:
    assert party_of(address) is None
