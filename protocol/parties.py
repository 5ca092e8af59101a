"""Which peers look like one party: who shares a public /24 (IPv4) or /48 (IPv6).

Two replicas of a chunk must not go to one party (DESIGN section 7). Private and loopback addresses
say nothing, since every home network has the same ones.
"""

import ipaddress

PARTY_PREFIX_IPV4_BITS = 24
PARTY_PREFIX_IPV6_BITS = 48


def party_of(address: str | None) -> str | None:
    """The network that a multiaddr such as `/ip4/203.0.113.7/tcp/4001` belongs to, as `203.0.113.0/24`.

    None where the address is missing, private, loopback, a name, or not understood.
    """
    ip = _ip_of(address)
    if ip is None or not ip.is_global:
        return None
    bits = PARTY_PREFIX_IPV4_BITS if ip.version == 4 else PARTY_PREFIX_IPV6_BITS
    return str(ipaddress.ip_network((ip, bits), strict=False))


def _ip_of(address: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    parts = (address or "").split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6"):
        return None
    try:
        ip = ipaddress.ip_address(parts[2])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip
