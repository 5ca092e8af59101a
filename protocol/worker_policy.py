"""What a worker's owner allows, and the two questions behind every bid: may I, and can I now?

Pure decisions; each refusal has its reason and says in words what was missing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.limits import (
    CALLS_PER_PEER_PER_MINUTE_MAX,
    CHUNKS_PER_BATCH_MAX,
    LEASES_PER_WORKER_MAX,
    MIB,
    SHORT_TEXT_LENGTH_MAX,
)
from protocol.messages.job import Call, RefusalReason
from protocol.requirements import GpuOffer, Machine, lacks

MEMORY_BYTES_PER_SLOT_DEFAULT = 2048 * MIB
Problem = tuple[RefusalReason, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPolicy:
    """What the owner of a worker offers. Prices are credits per reference-second.

    Raises `LocalError` for values that make no sense together.
    """

    slots: int = 1
    """Cores, one for each chunk at a time unless a job asks for more; at most 256; 0 offers nothing."""
    memory_bytes: int = 4096 * MIB
    """For all slots together."""
    price: float = 1.0
    """What a bid asks for."""
    price_min: float | None = None
    """How low a bid goes where the call does not offer `price`; None: not below `price`."""
    speed: float = 1.0
    """Relative to the reference machine."""
    ready_s: float = 0.0
    """Time until the first chunk can run, as bids say it."""
    runtimes: tuple[str, ...] | None = None
    """Names of the runtimes to offer among those that the executor has, or their first parts; None: all of them."""
    accepted: frozenset[PeerId] | None = None
    """Coordinators to work for; None: anyone."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the runtimes, by name."""
    sandboxes: Mapping[str, str] = field(default_factory=dict)
    """The kind that each runtime runs in, by the runtime's name."""
    disk_bytes: int = 0
    gpus: tuple[GpuOffer, ...] = ()
    leases_max: int = LEASES_PER_WORKER_MAX
    calls_per_minute_max: int = CALLS_PER_PEER_PER_MINUTE_MAX

    def offers(self, runtime: str) -> bool:
        """Whether this runtime may be offered: `command` allows `command:ffmpeg`."""
        return self.runtimes is None or runtime in self.runtimes or runtime.partition(":")[0] in self.runtimes

    def __post_init__(self) -> None:
        if not 0 <= self.slots <= CHUNKS_PER_BATCH_MAX:
            raise LocalError(f"{self.slots} slots; 0 to {CHUNKS_PER_BATCH_MAX} are possible")
        if not 0 <= self.lowest_price <= self.price:
            raise LocalError(f"a lowest price of {self.price_min} does not go with a price of {self.price}")
        if not 0 <= self.leases_max <= LEASES_PER_WORKER_MAX:
            raise LocalError(f"{self.leases_max} leases; 0 to {LEASES_PER_WORKER_MAX} are possible")

    @property
    def lowest_price(self) -> float:
        """The price below which no bid goes."""
        return self.price if self.price_min is None else self.price_min

    @property
    def machine(self) -> Machine:
        """What jobs can have of it."""
        return Machine(
            cores=self.slots,
            memory_bytes=self.memory_bytes,
            disk_bytes=self.disk_bytes,
            gpus=self.gpus,
            versions=self.versions,
            sandboxes=self.sandboxes,
        )


@dataclass(frozen=True, slots=True)
class Free:
    """What is neither leased nor reserved by a bid; slots of one core."""

    slots: int
    memory_bytes: int
    leases: int


def may_i(policy: WorkerPolicy, offered: Collection[str], call: Call, coordinator: PeerId) -> Problem | None:
    """Whether policy forbids a bid, whatever the load."""
    if policy.accepted is not None and coordinator not in policy.accepted:
        return RefusalReason.NOT_ACCEPTED, "this worker works for listed coordinators only"
    if call.runtime not in offered:
        return RefusalReason.RUNTIME_NOT_OFFERED, f"offered: {', '.join(sorted(offered)) or 'none'}"[:256]
    if call.price_max < policy.lowest_price:
        return RefusalReason.PRICE_TOO_LOW, f"{policy.lowest_price:g} per reference-second is the lowest"
    if missing := list(lacks(call.needs, memory_per_slot(call), call.runtime, policy.machine)):
        return RefusalReason.REQUIREMENTS, f"it lacks {' and '.join(missing)}"[:SHORT_TEXT_LENGTH_MAX]
    return None


def can_i_now(call: Call, free: Free) -> Problem | None:
    """Whether the load forbids a bid at this moment."""
    if free.leases < 1:
        return RefusalReason.TOO_MANY_LEASES, "all leases that this worker gives are taken"
    if free.slots < call.needs.cores:
        return RefusalReason.NO_FREE_SLOT, f"{free.slots} of {call.needs.cores} cores are free"
    if free.memory_bytes < memory_per_slot(call):
        return RefusalReason.NO_MEMORY, f"{free.memory_bytes // MIB} MiB are free"
    return None


def memory_per_slot(call: Call) -> int:
    """Bytes that each slot needs; a call that does not say gets the manifest's default."""
    return call.memory_bytes or MEMORY_BYTES_PER_SLOT_DEFAULT


def slots_to_bid(call: Call, free: Free) -> int:
    """How many slots to offer: what is wanted, as far as slots and memory go; at least 1 after `can_i_now`."""
    cores = free.slots // call.needs.cores
    return min(max(1, call.slots_wanted), cores, free.memory_bytes // memory_per_slot(call))


def price_to_bid(policy: WorkerPolicy, call: Call) -> float:
    """The owner's price, or the call's highest where that lies below it (after `may_i`)."""
    return min(policy.price, call.price_max)
