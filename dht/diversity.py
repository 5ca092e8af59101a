"""Which addresses look like one party (DESIGN section 5): the same public /24 or /48."""

import ipaddress

IPV4_PREFIX_BITS = 24
IPV6_PREFIX_BITS = 48


def origin_of(address: str | None) -> str:
    """The network that a multiaddr lies in, or "" for none, a private one, or a name.

    Private networks are left out: behind one address there may be a whole laboratory of honest peers.
    """
    parts = (address or "").split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6"):
        return ""
    try:
        ip = ipaddress.ip_address(parts[2])
    except ValueError:
        return ""
    if not ip.is_global:
        return ""
    bits = IPV4_PREFIX_BITS if ip.version == 4 else IPV6_PREFIX_BITS
    return str(ipaddress.ip_network((ip, bits), strict=False))
