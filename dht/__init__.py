"""Kademlia, the record store and the capability directory. Never imports libp2p."""
