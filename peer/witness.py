"""Who is told of lies that a coordinator finds, and looks into peers that it does not know."""

from typing import Protocol

from protocol.fraud_proof import FraudProof
from protocol.ids import PeerId


class Witness(Protocol):
    """Who tells others of lies, and hears of them. Calls must not block."""

    def accuse(self, proof: FraudProof) -> None:
        """We can prove this."""

    def look_into(self, peer: PeerId) -> None:
        """See whether others can prove something against a peer; what comes of it is told by `condemn`."""


class NoWitness:
    """For a coordinator that stands alone."""

    def accuse(self, proof: FraudProof) -> None:
        """Nobody is told."""

    def look_into(self, peer: PeerId) -> None:
        """Nobody is asked."""
