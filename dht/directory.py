"""The capability directory: who offers what, published and found over the DHT (DESIGN section 5).

A capability is published under a key for each of its names. Where so many peers publish under a key that
its holders can only keep a sample (`SHARD_SPLIT_RECORDS`), the key splits by the next `SHARD_BITS` bits of the
publishers' node ids, and so on. A publisher publishes at every level down to its own leaf; a searcher
begins at the root, whose sample is enough for most, and goes down for as long as it wants more.

The root of a very popular name hears of all its publishers; what it keeps and answers stays bounded.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import trio

from dht.keys import (
    KNOWN_RUNTIMES,
    OTHER_PEERS,
    SHARD_BITS,
    SHARD_DEPTH_MAX,
    directory_key,
    names_of,
    runtime_name,
    shard_bits,
)
from dht.sequence_numbers import SequenceNumbers
from dht.service import DhtService, Placement
from protocol.capability import Capability, open_capability, verified_capability
from protocol.errors import BadRecord, LocalError
from protocol.ids import PeerId
from protocol.limits import RECORD_LIFETIME_S, RECORD_SIZE_BYTES_MAX, RECORDS_PER_KEY_MAX
from protocol.signing import Envelope, Identity

if TYPE_CHECKING:
    from trio_typing import TaskStatus

SHARD_SPLIT_RECORDS = RECORDS_PER_KEY_MAX
"""A key with more publishers than this is split: its holders no longer keep everybody's record."""
_PARTS = range(1 << SHARD_BITS)
LOOKUPS_PER_FIND_MAX = 1 + len(_PARTS)
PEERS_LISTED_MAX = 1024
REPUBLISH_JITTER = 0.2
PUBLISH_RETRY_S = 5.0


class Directory:
    """Publishes this peer's capability and finds those of others."""

    def __init__(self, dht: DhtService, identity: Identity, *, random: Random, wall_clock: Callable[[], float]) -> None:
        self._dht = dht
        self._identity = identity
        self._random = random
        self._wall_clock = wall_clock
        self._sequence = SequenceNumbers(wall_clock)
        self._changed = trio.Event()
        self.placements: dict[str, list[Placement]] = {}
        """What came of the last publication, by name: one placement for each level of shards."""

    async def publish(self, capability: Capability) -> int:
        """Sign and store a capability under all its names; how many copies are kept.

        Raises `LocalError` for a record that is not ours, that is too large or that has expired.
        """
        envelope = self._sign(capability)
        try:
            open_capability(envelope, self._wall_clock())
        except BadRecord as error:
            raise LocalError(f"everybody would refuse this record: {error}") from error
        placements = {name: await self._publish_under(name, envelope) for name in names_of(capability)}
        self.placements = placements
        return sum(placement.copies for levels in placements.values() for placement in levels)

    async def run(
        self,
        make_capability: Callable[[int], Capability],
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Publish now and then at half the lifetime of a record, less some jitter, until cancelled.

        `make_capability(sequence)` gives the record as it is at that time. While nobody keeps a copy it is tried
        again after `PUBLISH_RETRY_S`. Sequence numbers are wall-clock milliseconds, so they grow over restarts.
        """
        self._dht.on_settled = self.publish_soon
        task_status.started()
        while True:
            self._changed = trio.Event()
            copies = await self.publish(make_capability(self._sequence.next()))
            half_life_s = RECORD_LIFETIME_S / 2
            pause_s = half_life_s if copies else PUBLISH_RETRY_S
            with trio.move_on_after(pause_s * self._random.uniform(1 - REPUBLISH_JITTER, 1)):
                await self._changed.wait()

    def publish_soon(self) -> None:
        """The capability has changed: `run` publishes it without waiting for its time."""
        self._changed.set()

    async def find(self, runtime: str, wanted: int) -> list[Capability]:
        """Peers that offer a runtime, by peer id: `wanted` of them, or all that are found when there are fewer.

        Records are checked, the newest of each peer counts, our own is left out, and the host learns their
        addresses. Of more than `wanted` a random part is given.
        """
        found = await self._find_under(runtime_name(runtime), wanted)
        return [capability for capability in found if capability.offers(runtime)]

    async def all_peers(self, wanted: int = PEERS_LISTED_MAX) -> list[Capability]:
        """Like `find`, whatever they offer: as many as wanted of each name that is known, then so many of all."""
        names = (OTHER_PEERS, *map(runtime_name, KNOWN_RUNTIMES))
        found = {one.peer: one for name in names for one in await self._find_under(name, wanted)}
        chosen = self._random.sample(sorted(found), min(wanted, len(found)))
        return [found[peer] for peer in sorted(chosen)]

    def _sign(self, capability: Capability) -> Envelope:
        if capability.peer != self._identity.peer_id:
            raise LocalError(f"cannot publish the capability of {capability.peer} as {self._identity.peer_id}")
        envelope = self._identity.sign(capability)
        if len(envelope.body) > RECORD_SIZE_BYTES_MAX:
            raise LocalError(
                f"the capability takes {len(envelope.body)} bytes, at most {RECORD_SIZE_BYTES_MAX} are allowed: "
                "give fewer addresses or runtimes"
            )
        return envelope

    async def _publish_under(self, name: str, envelope: Envelope) -> list[Placement]:
        """One placement for each level, from the root to the leaf."""
        bits = shard_bits(envelope.signer)
        placements: list[Placement] = []
        for depth in range(0, SHARD_DEPTH_MAX + 1, SHARD_BITS):
            placements.append(await self._dht.place(directory_key(name, bits[:depth]), envelope))
            if placements[-1].total_estimate <= SHARD_SPLIT_RECORDS:
                break
        return placements

    async def _find_under(self, name: str, wanted: int) -> list[Capability]:
        found: dict[PeerId, Capability] = {}
        shards = deque([""])
        for _ in range(LOOKUPS_PER_FIND_MAX):
            if not shards or len(found) >= wanted:
                break
            prefix = shards.popleft()
            # Of what a shard gives some are known already, and one may be our own: so ask for all that are wanted.
            envelopes, total = await self._dht.find_records(directory_key(name, prefix), wanted + 1)
            self._merge(found, envelopes)
            if total > SHARD_SPLIT_RECORDS and len(prefix) < SHARD_DEPTH_MAX:
                shards.extend(prefix + f"{part:0{SHARD_BITS}b}" for part in self._random.sample(_PARTS, len(_PARTS)))
        chosen = self._random.sample(sorted(found), min(wanted, len(found)))
        return [self._introduced(found[peer]) for peer in sorted(chosen)]

    def _merge(self, found: dict[PeerId, Capability], envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            capability = verified_capability(envelope)  # The DHT has checked the rest.
            known = found.get(capability.peer)
            newer = known is None or capability.sequence > known.sequence
            if newer and capability.peer != self._identity.peer_id:
                found[capability.peer] = capability

    def _introduced(self, capability: Capability) -> Capability:
        self._dht.host.add_addresses(capability.peer, capability.addresses)
        return capability
