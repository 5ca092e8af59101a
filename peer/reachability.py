"""Who of the peers in the directory answers, tried now: a record may outlive its peer by minutes."""

from collections.abc import Sequence

import trio

from dht.service import DhtService
from protocol.capability import Capability
from protocol.ids import PeerId
from protocol.messages.dht import Contact

PEERS_TRIED_MAX = 64
TRIAL_TIMEOUT_S = 2.0


async def try_peers(dht: DhtService, records: Sequence[Capability]) -> dict[PeerId, bool]:
    """Whether each of the first `PEERS_TRIED_MAX` peers answers a ping within `TRIAL_TIMEOUT_S`, all at once."""
    answered: dict[PeerId, bool] = {one.peer: False for one in records[:PEERS_TRIED_MAX]}

    async def try_one(record: Capability) -> None:
        reason = await dht.ping(Contact(peer=record.peer, addresses=record.addresses))
        answered[record.peer] = not reason

    with trio.move_on_after(TRIAL_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            for record in records[:PEERS_TRIED_MAX]:
                nursery.start_soon(try_one, record)
    return answered
