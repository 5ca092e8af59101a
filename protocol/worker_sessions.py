"""The book of a worker's sessions: which there are, what they hold together, what is due when."""

from collections import Counter
from collections.abc import Collection
from math import inf

from protocol.ids import JobId, PeerId
from protocol.limits import LEASE_LIFETIME_S, SESSIONS_PER_COORDINATOR_MAX, SESSIONS_PER_WORKER_MAX
from protocol.worker_lease import Lease
from protocol.worker_policy import Free, WorkerPolicy
from protocol.worker_session import Session


class Sessions:
    """All sessions by their number. After a change to one, call `note_deadline`."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._deadlines: dict[int, float] = {}

    def get(self, number: int) -> Session | None:
        """The session, or None when there is none of that number."""
        return self._sessions.get(number)

    def add(self, session: Session) -> None:
        """A new session."""
        self._sessions[session.number] = session

    def remove(self, session: Session) -> None:
        """The session is gone."""
        del self._sessions[session.number]
        self._deadlines.pop(session.number, None)

    def sorted(self) -> list[Session]:
        """All, by number."""
        return [self._sessions[number] for number in sorted(self._sessions)]

    def has_room_for(self, coordinator: PeerId) -> bool:
        """Whether one more session of this coordinator is within the limits."""
        mine = sum(session.coordinator == coordinator for session in self._sessions.values())
        return mine < SESSIONS_PER_COORDINATOR_MAX and len(self._sessions) < SESSIONS_PER_WORKER_MAX

    # Deadlines.

    def note_deadline(self, session: Session) -> None:
        """Ask the session anew when something of it is due."""
        self._deadlines[session.number] = session.next_deadline()

    def next_deadline(self) -> float:
        """When the first thing is due; infinity when nothing is."""
        return min(self._deadlines.values(), default=inf)

    def due(self, now: float) -> list[Session]:
        """Sessions of which something is due, by number."""
        numbers = sorted(number for number, deadline in self._deadlines.items() if deadline <= now)
        return [self._sessions[number] for number in numbers]

    # What they hold together.

    def leases(self) -> list[Lease]:
        """The leases in force."""
        return [session.lease for session in self._sessions.values() if session.lease]

    def orphans_of(self, coordinator: PeerId, job: JobId) -> list[Session]:
        """The sessions that a coordinator has abandoned, and of which chunks of this job still run; by number."""
        orphans = (one for one in self.sorted() if one.orphan)
        return [one for one in orphans if (one.coordinator, one.job) == (coordinator, job)]

    def leased_for(self, coordinator: PeerId, job: JobId) -> list[Session]:
        """The sessions with a lease of this coordinator for this job; by number."""
        return [one for one in self.sorted() if one.lease and (one.coordinator, one.job) == (coordinator, job)]

    def free(self, policy: WorkerPolicy, without: Collection[int] = ()) -> Free:
        """What is neither leased nor reserved by a bid; what it would be `without` some sessions.

        What still runs for a coordinator that had vanished holds its slots; once it is back, a bid or lease for the
        same job takes these over: the slots are free for it one by one, as what runs on them ends.
        """
        cores, memory_bytes = Counter[tuple[PeerId, JobId | None]](), Counter[tuple[PeerId, JobId | None]]()
        sessions = [session for session in self._sessions.values() if session.number not in without]
        held = [(session, session.held) for session in sessions if session.held is not None]
        for session, terms in held:
            cores[session.coordinator, session.job] += terms.cores
            memory_bytes[session.coordinator, session.job] += terms.memory_bytes
        orphans = [(session, session.orphan) for session in sessions if session.orphan is not None]
        left, left_bytes = Counter[tuple[PeerId, JobId | None]](), Counter[tuple[PeerId, JobId | None]]()
        for session, orphan in orphans:
            left[session.coordinator, session.job] += orphan.cores
            left_bytes[session.coordinator, session.job] += orphan.memory_bytes
        return Free(
            slots=policy.slots - (cores | left).total(),
            memory_bytes=policy.memory_bytes - (memory_bytes | left_bytes).total(),
            leases=policy.leases_max - len(held),
        )

    def idle(self, now: float) -> list[Session]:
        """Sessions whose lease had nothing to do for `LEASE_LIFETIME_S`, the longest idle one first."""
        leased = [(session.lease, session) for session in self._sessions.values() if session.lease]
        idle = [(lease.idle_since, session.number) for lease, session in leased if lease.is_idle]
        return [self._sessions[number] for since, number in sorted(idle) if now - since >= LEASE_LIFETIME_S]

    def check_invariants(self, policy: WorkerPolicy) -> None:
        """Raise AssertionError when the books do not agree."""
        free = self.free(policy)
        assert free.slots >= 0 and free.memory_bytes >= 0 and free.leases >= 0, free
        assert self._deadlines.keys() == self._sessions.keys()
        assert sum(not session.ending for session in self._sessions.values()) <= SESSIONS_PER_WORKER_MAX
        for number, session in self._sessions.items():
            assert not (session.bid and session.lease), "a bid and a lease at once"
            assert not session.orphan or (session.orphan.running and session.held is None), "an orphan with its lease"
            assert self._deadlines[number] == session.next_deadline()
            if session.lease:
                session.lease.check_invariants()
