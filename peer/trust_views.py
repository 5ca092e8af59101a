"""What a peer shows of whom it trusts, and of the ledger: plain frozen data. Imports nothing heavy."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class TrustView(msgspec.Struct, frozen=True, kw_only=True):
    """What this peer has found out about another one as a worker."""

    peer: str
    clean: float = 0.0
    """Results that stand, those from long ago counting less; after the dues it is audited in part only."""
    audits: int = 0
    """Of its results, those that were executed again here and right."""
    offences: int = 0
    paired: bool = False
    banned_for_s: float = 0.0
    reason: str = ""
    seen_unix_s: float = 0.0


class EvidenceView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at_unix_s: float
    kind: str
    """`clean`, `lie`, `fault`, `ban` or `pair`."""
    job: str = ""
    text: str = ""


class TrustCase(msgspec.Struct, frozen=True, kw_only=True):
    """A peer and the evidence behind its numbers, the newest first."""

    trust: TrustView
    evidence: list[EvidenceView] = []


class TrustAction(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner wants done about a peer."""

    action: Literal["ban", "pair", "forget"]
    seconds: Annotated[float, Meta(gt=0)] = 30 * 86400.0
    reason: str = "the owner said so"


class LedgerView(msgspec.Struct, frozen=True, kw_only=True):
    """Credits between this peer and another one."""

    peer: str
    earned: float = 0.0
    """By our work for it, as its receipts say."""
    spent: float = 0.0
    """On its work for us, as our receipts say."""
    pending: float = 0.0
    """For its results in jobs that run: forfeited if a lie of its is found before they end."""
    receipts: int = 0

    @property
    def balance(self) -> float:
        """What it owes us, in credits; below zero what we owe it."""
        return self.earned - self.spent
