"""Liars that know each other: they agree on what to say, and some compare notes before they dare."""

from collections import OrderedDict
from hashlib import blake2b
from random import Random

from peer.seam import Runner
from simulations.lying import Answer, ChunkAlteration, falsified

CHUNKS_REMEMBERED_MAX = 100_000


def agreed_lies(rate: float, secret: bytes) -> ChunkAlteration:
    """On this share of the chunks all who know the secret lie, and all say the same."""

    async def alter(runner: Runner, payload: bytes) -> Answer:
        lie = _agreed(secret, payload)
        lies = lie.random() < rate
        answer = await runner.run(payload)
        return falsified(answer, lie) if lies else answer

    return alter


class CanaryRing:
    """Members tell each other which chunks they were given, and lie together where a vote is theirs.

    A chunk that only one of them has may be a test; so the first to finish lies only when another has the
    chunk as well, and whoever finishes later says what the first said.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._members = 0
        self._chunks: OrderedDict[bytes, tuple[set[int], list[bool]]] = OrderedDict()

    def joined(self) -> ChunkAlteration:
        """What one more member does."""
        self._members += 1
        member = self._members

        async def alter(runner: Runner, payload: bytes) -> Answer:
            holders, decision = self._notes(payload)
            holders.add(member)
            answer = await runner.run(payload)
            if not decision:
                decision.append(len(holders) > 1)
            return falsified(answer, _agreed(self._secret, payload)) if decision[0] else answer

        return alter

    def _notes(self, payload: bytes) -> tuple[set[int], list[bool]]:
        key = blake2b(payload, digest_size=16).digest()
        notes = self._chunks.setdefault(key, (set(), []))
        if len(self._chunks) > CHUNKS_REMEMBERED_MAX:
            self._chunks.popitem(last=False)
        return notes


def _agreed(secret: bytes, payload: bytes) -> Random:
    return Random(int.from_bytes(blake2b(payload, digest_size=8, key=secret).digest(), "little"))
