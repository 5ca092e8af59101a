"""Addresses as people write them."""

import socket
from types import SimpleNamespace

import psutil
import pytest

from peer.addresses import TcpAddress, concrete_addresses, dialable, parse_address, parse_bootstrap
from protocol.errors import LocalError
from protocol.signing import Identity

PEER = Identity(bytes(32)).peer_id


@pytest.mark.parametrize(
    "text",
    ["/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::1/tcp/1", "/dns4/example.org/tcp/65535", "/dns/my-host/tcp/0"],
)
def test_a_good_address_stays_as_it_is(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an address of the form /ip4/192.0.2.7/tcp/4001"),
        ("192.0.2.7:4001", "is not an address of the form"),
        ("/ip4/192.0.2.7", "is not an address of the form"),
        ("/ip4/192.0.2.7/udp/1", "is not an address of the form"),
        ("/ip4/192.0.2.7/tcp/1/ws", "is not an address of the form"),
        ("/ip4/192.0.2.7/tcp/1/p2p/" + "Q" * 1000, "is not an address of the form"),
        ("/ip4/192.0.2.777/tcp/1", "'192.0.2.777' is not an IPv4 address"),
        ("/ip6/192.0.2.7/tcp/1", "'192.0.2.7' is not an IPv6 address"),
        ("/dns4/-x-/tcp/1", "is not a host name"),
        ("/ip4/192.0.2.7/tcp/65536", "'65536' is not a port between 0 and 65535"),
        ("/ip4/192.0.2.7/tcp/-1", "is not a port"),
        ("/ip4/192.0.2.7/tcp/²", "is not a port"),
    ],
)
def test_a_wrong_address_is_named_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse_address(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_bootstrap_address_has_a_peer() -> None:
    assert parse_bootstrap(f" /ip4/192.0.2.7/tcp/4001/p2p/{PEER}\n") == (PEER, "/ip4/192.0.2.7/tcp/4001")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/ip4/192.0.2.7/tcp/4001", "has no peer id"),
        ("hello", "has no peer id"),
        ("/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW", "not the peer id"),
        ("/ip4/192.0.2.7/tcp/4001/p2p/0OIl", "not a peer id"),
        ("/ip4/192.0.2.7/tcp/4001/p2p/", "not the peer id"),
        (f"/ip4/nowhere/tcp/4001/p2p/{PEER}", "'nowhere' is not an IPv4 address"),
    ],
)
def test_a_wrong_bootstrap_address_is_named(text: str, message: str) -> None:
    with pytest.raises(LocalError) as caught:
        parse_bootstrap(text)
    assert message in str(caught.value)


def test_only_what_can_be_dialled_is_kept() -> None:
    good = "/ip4/192.0.2.7/tcp/4001"
    others = ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1", "/ip4/192.0.2.7/tcp/0", "/ip4/192.0.2.7/udp/1/quic-v1", "x", ""]
    assert dialable([*others, f"{good}/p2p/{PEER}", good]) == [good]


def interfaces(monkeypatch: pytest.MonkeyPatch, *ips: str) -> None:
    def entry(ip: str) -> SimpleNamespace:
        return SimpleNamespace(family=socket.AF_INET6 if ":" in ip else socket.AF_INET, address=ip)

    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {f"if{n}": [entry(ip)] for n, ip in enumerate(ips)})


def test_a_wildcard_stands_for_every_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces(monkeypatch, "127.0.0.1", "192.168.1.9", "10.0.0.3", "169.254.1.1", "::1", "fe80::1%eth0", "2001:db8::5")
    assert [a.host for a in concrete_addresses(TcpAddress("ip4", "0.0.0.0", 7))] == ["10.0.0.3", "192.168.1.9"]
    assert [str(a) for a in concrete_addresses(TcpAddress("ip6", "::", 7))] == ["/ip6/2001:db8::5/tcp/7"]


def test_without_a_network_loopback_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces(monkeypatch, "127.0.0.1")
    assert [a.host for a in concrete_addresses(TcpAddress("ip4", "0.0.0.0", 7))] == ["127.0.0.1"]
    assert concrete_addresses(TcpAddress("ip6", "::", 7)) == []


def test_a_concrete_address_stands_for_itself() -> None:
    address = TcpAddress("ip4", "192.0.2.7", 7)
    assert concrete_addresses(address) == [address]
