"""The worker's side of the auction: a call gets a bid or a refusal, an award gets its lease's terms or a refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from protocol.bodies import Manifest
from protocol.errors import RemoteError
from protocol.ids import RANDOM_ID_BITS, BidId, PeerId, digest
from protocol.limits import BID_LIFETIME_S, COORDINATORS_REMEMBERED_MAX, MIB
from protocol.messages.job import Award, Bid, Call, RefusalReason
from protocol.peer_rate import PeerRate
from protocol.signing import open_envelope
from protocol.worker_lease import LeaseTerms
from protocol.worker_policy import (
    Free,
    Problem,
    WorkerPolicy,
    may_i,
    memory_per_slot,
    price_to_bid,
    slots_to_bid,
)


@dataclass(frozen=True, slots=True)
class OpenBid:
    """A bid that was sent; it holds its slots and memory until it lapses."""

    call: Call
    message: Bid
    memory_bytes: int
    lapses_at: float

    @property
    def slots(self) -> int:
        """Slots that the bid offers."""
        return self.message.slots

    @property
    def cores(self) -> int:
        """Of the worker, that the bid holds."""
        return self.message.slots * self.call.needs.cores


class Auction:
    """What one worker says to calls and awards. It holds no slots itself: what is free is an argument."""

    def __init__(self, policy: WorkerPolicy, environments: Mapping[str, bytes], random: Random) -> None:
        self._policy = policy
        self._environments = dict(environments)
        self._random = random
        calls_max = policy.calls_per_minute_max
        self._rate = PeerRate(calls_max, calls_max / 60.0, COORDINATORS_REMEMBERED_MAX)

    def may_i(self, call: Call, coordinator: PeerId, now: float) -> Problem | None:
        """The first question; counts the call against its coordinator's rate."""
        if not self._rate.allow(coordinator, now):
            return RefusalReason.TOO_MANY_CALLS, f"at most {self._policy.calls_per_minute_max} a minute"
        return may_i(self._policy, self._environments, call, coordinator)

    def bid(self, call: Call, free: Free, now: float) -> OpenBid:
        """A bid for as many slots as are wanted and free (after both questions were answered with yes)."""
        slots = slots_to_bid(call, free)
        message = Bid(
            call_id=call.call_id,
            bid=BidId(f"{self._random.getrandbits(RANDOM_ID_BITS):032x}"),
            price=price_to_bid(self._policy, call),
            slots=slots,
            speed=self._policy.speed,
            ready_s=self._policy.ready_s,
            expires_s=BID_LIFETIME_S,
        )
        return OpenBid(call, message, slots * memory_per_slot(call), now + BID_LIFETIME_S)

    def accept(self, award: Award, bid: OpenBid | None, session: int, coordinator: PeerId) -> LeaseTerms | Problem:
        """The terms of the lease that the award makes, or why it makes none."""
        if bid is None or (bid.message.bid, bid.message.call_id) != (award.bid, award.call_id):
            return RefusalReason.BID_UNKNOWN, "there is no such bid, or it has lapsed"
        if award.price < bid.message.price or award.slots > bid.slots:
            return RefusalReason.BID_UNKNOWN, f"the bid was {bid.slots} slots at {bid.message.price:g}"
        try:
            manifest = open_envelope(award.manifest, Manifest, coordinator)
        except RemoteError as error:
            return RefusalReason.BAD_MANIFEST, str(error)[:256]
        if problem := _mismatch(manifest, bid.call):
            return RefusalReason.BAD_MANIFEST, problem
        return LeaseTerms(
            session=session,
            lease=award.lease,
            coordinator=coordinator,
            manifest=manifest,
            manifest_digest=digest(award.manifest.body),
            price=award.price,
            slots=award.slots,
            cores=award.slots * bid.call.needs.cores,
            memory_bytes=award.slots * memory_per_slot(bid.call),
            environment=self._environments[manifest.runtime],
        )


def _mismatch(manifest: Manifest, call: Call) -> str | None:
    if (manifest.job, manifest.runtime) != (call.job, call.runtime):
        return "the manifest is not for the job and runtime of the call"
    if manifest.cores > call.needs.cores:
        return f"the manifest asks for more cores than the call: {call.needs.cores} per slot"
    if manifest.memory_bytes_max > memory_per_slot(call):
        return f"the manifest asks for more memory than the call: {memory_per_slot(call) // MIB} MiB per slot"
    return None
