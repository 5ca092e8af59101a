"""Whether a call gets a bid: may I, and can I now, with room made for it where others have less of a claim.

Called by `worker_machine` alone, which lets go of those that `leave` names.
"""

from collections.abc import Callable, Sequence

from protocol.limits import UNPAID_COMPUTE_S_MAX
from protocol.messages.job import Call, RefusalReason
from protocol.worker_auction import Auction
from protocol.worker_ledger import Ledger
from protocol.worker_memory import WorkerMemory
from protocol.worker_policy import Free, Problem, WorkerPolicy, can_i_now
from protocol.worker_session import Session
from protocol.worker_sessions import Sessions

STANDING_MARGIN = 10.0
"""How many credits more somebody must have done for us than a leaseholder to be served before it."""


class Admission:
    """One per worker. `leave(session, reason, now)` ends what a session holds."""

    def __init__(
        self,
        policy: WorkerPolicy,
        sessions: Sessions,
        auction: Auction,
        ledger: Ledger,
        memory: WorkerMemory,
        leave: Callable[[Session, str, float], None],
    ) -> None:
        self._policy = policy
        self._sessions = sessions
        self._auction = auction
        self._ledger = ledger
        self._memory = memory
        self._leave = leave

    def may_i(self, session: Session, call: Call, now: float) -> Problem | None:
        """Whether the owner, the call's terms or unpaid work forbid a bid."""
        if problem := self._auction.may_i(call, session.coordinator, now):
            return problem
        if problem := self._memory.leave(session.coordinator):
            return problem
        unpaid_s = self._ledger.unpaid_s(session.coordinator, now, but=call.job)
        if unpaid_s > UNPAID_COMPUTE_S_MAX:
            return RefusalReason.UNPAID, f"no receipt has come for {unpaid_s:.0f} s of work"
        return None

    def can_i_now(self, session: Session, call: Call, now: float) -> Problem | None:
        """Whether the load forbids it, once those that are idle, or have done less for us, have been let go."""
        if session.lease:
            return RefusalReason.TOO_MANY_LEASES, "there is a lease on this stream already"
        problem = can_i_now(call, self.free_for(session, call))
        for idle in self._sessions.idle(now) if problem else ():
            self._leave(idle, "idle while others wait", now)
            problem = can_i_now(call, self.free_for(session, call))
            if problem is None:
                break
        return self._make_room(session, call, now) if problem else None

    def free_for(self, session: Session, call: Call, below: Sequence[int] = ()) -> Free:
        """What is free for it; nor do what still runs of an earlier lease for its job and `below` stand in its way."""
        orphans = [one.number for one in self._sessions.orphans_of(session.coordinator, call.job)]
        return self._sessions.free(self._policy, without=[*orphans, *below])

    def _make_room(self, session: Session, call: Call, now: float) -> Problem | None:
        """Who has served us goes first: leases of those who have done so less end for it, if that makes enough room."""
        holders = [one for one in self._sessions.sorted() if one.lease or one.orphan]
        leased = {one.number: self._memory.standing(one.coordinator) for one in holders}
        mine = self._memory.standing(session.coordinator)
        below = sorted(number for number, theirs in leased.items() if theirs + STANDING_MARGIN <= mine)
        if problem := can_i_now(call, self.free_for(session, call, below)):
            return problem
        for number in sorted(below, key=lambda one: (leased[one], one)):
            other = self._sessions.get(number)
            assert other is not None
            self._leave(other, "a peer that has served this one needs the slots", now)
            if can_i_now(call, self.free_for(session, call)) is None:
                break
        return can_i_now(call, self.free_for(session, call))
