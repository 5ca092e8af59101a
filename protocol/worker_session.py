"""One job stream on the worker's side: at most one open bid or one lease at a time."""

from collections import deque
from math import inf

from protocol.errors import BadFrame
from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.limits import LEASE_INPUT_BYTES_MAX, SESSION_IDLE_S
from protocol.orphan import Orphan
from protocol.payloads import PayloadCollector
from protocol.worker_auction import OpenBid
from protocol.worker_lease import Lease, LeaseTerms
from protocol.worker_transitions import SessionState

PAST_LEASES_REMEMBERED_MAX = 8


class Session:
    """What a worker knows of one stream of one coordinator."""

    def __init__(self, number: int, coordinator: PeerId, now: float) -> None:
        self.number = number
        self.coordinator = coordinator
        self.bid: OpenBid | None = None
        self.lease: Lease | None = None
        self.orphan: Orphan | None = None
        """What still runs of the lease, where the coordinator has vanished."""
        self.takes_kept_of: JobId | None = None
        """The job of the last call, where its coordinator takes what is kept for it."""
        self.handing: dict[tuple[LeaseId, ChunkId], None] = {}
        """What it has asked for of that, in this order."""
        self.handing_in_flight: LeaseId | None = None
        """The lease of what is being sent of it: one result at a time, so that little waits for a slow reader."""
        self.ending = False
        self.payloads = PayloadCollector(LEASE_INPUT_BYTES_MAX)
        self.past_leases: deque[LeaseId] = deque(maxlen=PAST_LEASES_REMEMBERED_MAX)
        self._idle_since = now

    @property
    def state(self) -> SessionState:
        """Derived, so that it cannot contradict what is held."""
        if self.orphan:
            return SessionState.ABANDONED
        if self.ending:
            return SessionState.ENDING
        if self.lease:
            return SessionState.LEASED
        return SessionState.BIDDING if self.bid else SessionState.OPEN

    @property
    def job(self) -> JobId | None:
        """The job that its lease, bid or orphan is for."""
        if self.orphan:
            return self.orphan.terms.job
        if self.lease:
            return self.lease.terms.job
        return self.bid.call.job if self.bid else None

    @property
    def held(self) -> OpenBid | LeaseTerms | None:
        """What holds slots and memory: the lease, or the bid."""
        return self.lease.terms if self.lease else self.bid

    def drop_bid(self, now: float) -> None:
        """The bid, if any, is off; its slots are free."""
        self.bid = None
        self._idle_since = now

    def drop_lease(self, now: float) -> None:
        """The lease, if any, is over; messages for it may still be under way."""
        if self.lease:
            self.past_leases.append(self.lease.terms.lease)
        self.lease = None
        self._idle_since = now

    def lease_named(self, name: LeaseId, now: float) -> Lease | None:
        """The lease that a message names, which is a sign of life; None for one that has ended; or `BadFrame`."""
        if self.lease and self.lease.terms.lease == name:
            self.lease.heard(now)
            return self.lease
        if name in self.past_leases:
            return None
        raise BadFrame(f"{self.coordinator} has no lease {name!r} on this stream")

    def is_forgotten(self, now: float) -> bool:
        """Whether there was neither bid nor lease for `SESSION_IDLE_S`."""
        return self.state is SessionState.OPEN and now >= self._idle_since + SESSION_IDLE_S

    def next_deadline(self) -> float:
        """When something is due if nothing happens."""
        match self.state:
            case SessionState.ENDING | SessionState.ABSENT | SessionState.ABANDONED:
                return inf
            case SessionState.OPEN:
                return self._idle_since + SESSION_IDLE_S
        if self.lease:
            return self.lease.next_deadline()
        return self.bid.lapses_at if self.bid else inf
