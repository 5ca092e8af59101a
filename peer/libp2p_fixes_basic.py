"""The library's own host, kept for the protocols that every libp2p peer answers (ping, identify)."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import multiaddr
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH

from peer.addresses import concrete_addresses, parse_address
from peer.libp2p_fixes import PeerSwarm
from protocol.signing import Identity

logger = logging.getLogger(__name__)


def key_pair_of(identity: Identity) -> Any:
    """Our identity as the library wants it."""
    private_key = Ed25519PrivateKey.from_bytes(identity.seed)
    return KeyPair(private_key, private_key.get_public_key())


def basic_host(swarm: PeerSwarm) -> BasicHost:
    """The library's host, for the protocols that every libp2p peer answers (ping, identify)."""
    basic = BasicHost(network=swarm, addrs_factory=_expanded)
    # Identify of our own accord costs a stream per connection, in tasks that nobody owns, and a stranger's push
    # fills the peerstore: addresses come from signed records here.
    swarm.notifees.clear()
    basic.remove_stream_handler(ID_PUSH)
    swarm.set_stream_handler(partial(_guarded, basic))
    return basic


def _expanded(candidates: Sequence[Any]) -> list[Any]:
    """Fix 9: with a listener on all interfaces the library tells others to dial 0.0.0.0."""
    listening = [parse_address(str(candidate)) for candidate in candidates]
    return [multiaddr.Multiaddr(str(c)) for address in listening for c in concrete_addresses(address)]


async def _guarded(basic: BasicHost, net_stream: Any) -> None:
    """An error in one stream's negotiation must not end the host, as it does in the library."""
    try:
        await basic._swarm_stream_handler(net_stream)
    except Exception as error:  # noqa: BLE001 - the supervised boundary of one stream
        logger.info("a stream from %s ends: %r", net_stream.muxed_conn.peer_id, error)
        net_stream.muxed_stream.reset_nowait()
