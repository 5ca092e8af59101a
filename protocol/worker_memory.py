"""What a worker asks its journal about coordinators: whom it owes, and who can speak for it."""

from collections.abc import Sequence
from typing import Protocol

from protocol.ids import PeerId
from protocol.signing import Envelope


class WorkerMemory(Protocol):
    """Asked when a call or an award comes. Must neither block nor raise."""

    def standing(self, peer: PeerId) -> float:
        """Credits that a peer has earned from us beyond what we have earned from it."""

    def introductions(self, to: PeerId) -> Sequence[Envelope]:
        """Receipts of others that may impress this coordinator, `INTRODUCTIONS_MAX` at most."""


class NoMemory:
    """For a worker without a journal."""

    def standing(self, peer: PeerId) -> float:
        """All are alike."""
        return 0.0

    def introductions(self, to: PeerId) -> Sequence[Envelope]:
        """Nobody speaks for it."""
        return ()


NO_MEMORY = NoMemory()
