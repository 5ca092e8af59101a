"""Addresses as people write them: multiaddrs over TCP, with and without the peer id.

Only `/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>` is used on this network, so that asking a running
peer something needs no libp2p (its import takes a second).
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import BadRecord, LocalError
from protocol.ids import PeerId, public_key_of
from protocol.limits import ADDRESS_LENGTH_MAX

RIGHT_FORM = "/ip4/192.0.2.7/tcp/4001"
_HOST_KINDS = ("ip4", "ip6", "dns", "dns4", "dns6")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """One place to listen at or to dial: `kind` is the multiaddr's word for the host."""

    kind: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"/{self.kind}/{self.host}/tcp/{self.port}"

    @property
    def is_wildcard(self) -> bool:
        """Whether this is `0.0.0.0` or `::`, which nobody can dial."""
        return self.kind in ("ip4", "ip6") and ipaddress.ip_address(self.host).is_unspecified


def parse_address(text: str) -> TcpAddress:
    """A multiaddr over TCP without a peer id; raises `LocalError` that names the text and the right form."""
    parts = text.strip().split("/")
    if (
        len(text) > ADDRESS_LENGTH_MAX
        or len(parts) != 5
        or parts[0]
        or parts[1] not in _HOST_KINDS
        or parts[3] != "tcp"
    ):
        raise LocalError(f"{_shown(text)} is not an address of the form {RIGHT_FORM}")
    return TcpAddress(parts[1], _host(parts[1], parts[2], text), _port(parts[4], text))


def parse_bootstrap(text: str) -> tuple[PeerId, str]:
    """What `--bootstrap` takes: `<address>/p2p/<peer id>`. Raises `LocalError` for anything else."""
    address, marker, peer = text.strip().rpartition("/p2p/")
    if not marker:
        raise LocalError(
            f"{_shown(text)} has no peer id: give {RIGHT_FORM}/p2p/<peer id>, as the other peer printed it"
        )
    try:
        public_key_of(PeerId(peer))
    except BadRecord as error:
        raise LocalError(f"{_shown(text)}: {error}; copy the whole line that the other peer printed") from error
    return PeerId(peer), str(parse_address(address))


def dialable(texts: Sequence[str]) -> list[str]:
    """The addresses that make sense to dial, in order; what others sent us may be anything, so the rest is dropped."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            address = parse_address(text.partition("/p2p/")[0])
        except LocalError:
            continue
        if address.port and not address.is_wildcard:
            found[str(address)] = None
    return list(found)


def concrete_addresses(address: TcpAddress) -> list[TcpAddress]:
    """The address itself, or for a wildcard one per network interface (loopback alone where there is no other)."""
    if not address.is_wildcard:
        return [address]
    import psutil

    family = socket.AF_INET if address.kind == "ip4" else socket.AF_INET6
    interfaces = psutil.net_if_addrs()
    ips = {
        ipaddress.ip_address(a.address.partition("%")[0])
        for n in interfaces
        for a in interfaces[n]
        if a.family == family
    }
    usable = sorted(ip for ip in ips if not ip.is_link_local)
    outside = [ip for ip in usable if not ip.is_loopback]
    return [TcpAddress(address.kind, str(ip), address.port) for ip in outside or usable]


def _host(kind: str, host: str, text: str) -> str:
    if kind.startswith("dns"):
        if not _HOST_NAME.fullmatch(host):
            raise LocalError(f"{_shown(text)}: {host!r} is not a host name")
        return host
    wanted = ipaddress.IPv4Address if kind == "ip4" else ipaddress.IPv6Address
    try:
        return str(wanted(host))
    except ValueError as error:
        raise LocalError(f"{_shown(text)}: {host!r} is not an IPv{kind[2]} address") from error


def _port(port: str, text: str) -> int:
    if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise LocalError(f"{_shown(text)}: {port!r} is not a port between 0 and 65535")
    return int(port)


def _shown(text: str) -> str:
    return repr(text if len(text) <= ADDRESS_LENGTH_MAX else text[:ADDRESS_LENGTH_MAX] + "...")
