"""What a worker asks about coordinators: whom it owes, who can speak for it, whom its owner lets in."""

from collections.abc import Sequence
from typing import Protocol

from protocol.ids import PeerId
from protocol.signing import Envelope
from protocol.worker_policy import Problem


class WorkerMemory(Protocol):
    """Asked when a call or an award comes. Must neither block nor raise."""

    def standing(self, peer: PeerId) -> float:
        """Credits that a peer has earned from us beyond what we have earned from it."""

    def introductions(self, to: PeerId) -> Sequence[Envelope]:
        """Receipts of others that may impress this coordinator, `INTRODUCTIONS_MAX` at most."""

    def leave(self, peer: PeerId) -> Problem | None:
        """Why the owner does not let this coordinator in; None: it may call."""


class NoMemory:
    """For a worker without a journal."""

    def standing(self, peer: PeerId) -> float:
        """All are alike."""
        return 0.0

    def introductions(self, to: PeerId) -> Sequence[Envelope]:
        """Nobody speaks for it."""
        return ()

    def leave(self, peer: PeerId) -> Problem | None:
        """Anyone may call."""
        return None


NO_MEMORY = NoMemory()
