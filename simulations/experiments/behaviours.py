"""How workers behave in `OneJob`: when they lie, and whether they agree on what to say.

All liars but `Rate(own_word=True)` say the same, which is the worst for votes.
"""

from dataclasses import dataclass
from typing import Protocol

from protocol.ids import PeerId


@dataclass(frozen=True, slots=True)
class Chance:
    """What a worker knows when it is about to answer."""

    done: int
    """Chunks that it has answered under its present name, in this job and earlier ones."""
    plot: float
    """Belongs to the chunk and is known to all liars, who so lie in the same chunks; from [0, 1)."""
    company: bool = False
    """Whether another member of its ring has been given the chunk too."""
    said: bool | None = None
    """Whether a member of its ring has lied in the chunk; None when none has answered yet."""


class Behaviour(Protocol):
    """How a worker behaves."""

    @property
    def in_ring(self) -> bool:
        """Whether it tells the others like it what it was given and what it said."""

    @property
    def own_word(self) -> bool:
        """Whether its lies are its own, so that no other liar says the same."""

    def lies(self, chance: Chance) -> bool:
        """Whether it lies in its next chunk."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Lies in a share of the chunks, together with the other liars; an honest worker lies in none."""

    rate: float = 0.0
    own_word: bool = False
    in_ring: bool = False

    def lies(self, chance: Chance) -> bool:
        """In the chunks on which all liars agree."""
        return chance.plot < self.rate


HONEST = Rate()


@dataclass(frozen=True, slots=True)
class Sleeps:
    """Honest for so many chunks under each name, then lies in all."""

    chunks: int = 10
    own_word: bool = False
    in_ring: bool = False

    def lies(self, chance: Chance) -> bool:
        """By its own count."""
        return chance.done >= self.chunks


@dataclass(frozen=True, slots=True)
class Canary:
    """Lies only where it is not compared with an honest worker, as far as its ring can tell (`CanaryRing`).

    A chunk that only one of the ring has may be a test. So the first to answer lies only where another has the chunk
    as well, and whoever answers later says what the first said.
    """

    own_word: bool = False
    in_ring: bool = True

    def lies(self, chance: Chance) -> bool:
        """As the ring has decided, or decides now."""
        return chance.company if chance.said is None else chance.said


@dataclass(slots=True)
class Known:
    """A worker under one name, and what it has behind it."""

    name: PeerId
    behaviour: Behaviour
    clean: float = 0.0
    """Clean results in the coordinator's book when the job begins."""
    done: int = 0
    """See `Chance`."""
