"""A coordinator of a run and its user: its lives on one journal, and the jobs that are submitted, one after another."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

from peer.accusations import Accusations
from peer.coordinator import Coordinator
from peer.core import Joined, NodeEvent, Part, PeerCore
from peer.views import JobState
from protocol.ids import JobId
from simulations.crashes import AT_WRITE_WITHIN_S, Crash, Moment, coordinator_crashes
from simulations.peers import SimulatedPeer
from simulations.traced_journal import OnBan, TracedJournal
from simulations.workload import Work

if TYPE_CHECKING:
    from trio_typing import TaskStatus


class Submitter:
    """One coordinator. `on_all_ended` is told its number when all its jobs have ended, once in each life from then on.

    What is kept from life to life is the journal, and what the user knows: which jobs were submitted.
    """

    def __init__(self, peer: SimulatedPeer, work: Work, on_ban: OnBan, on_all_ended: Callable[[int], None]) -> None:
        scenario = peer.world.scenario
        self._peer = peer
        self._work = work
        self._book = peer.world.book
        self._workload = scenario.workload
        self._crashes = scenario.crashes
        self._on_all_ended = on_all_ended
        self._journal = TracedJournal.open_traced(
            self._book, peer.number, on_ban, keeps=scenario.crashes.coordinator_mean_s > 0
        )

    async def run(self, joins_at_s: float) -> None:
        """All lives, until cancelled."""
        world = self._peer.world
        await trio.sleep(joins_at_s)
        random = world.random(f"crashes/{self._peer.number}")
        first_from_s = max(joins_at_s, self._workload.start_s)
        try:
            for crash in coordinator_crashes(self._crashes, random, first_from_s, world.heals_at_s):
                await self._live_until(crash)
            await self._live()
        finally:
            self._journal.close()

    async def _live_until(self, crash: Crash) -> None:
        """One life. The next one begins no later than everything heals."""
        courier = self._peer.world.network.courier
        if crash.moment is Moment.BETWEEN:
            courier.call_at(crash.at_s, partial(self._die, self._journal))
        else:
            courier.call_at(crash.at_s, partial(self._arm, self._journal, crash.moment))
            courier.call_at(crash.at_s + AT_WRITE_WITHIN_S, partial(self._die, self._journal))
        await self._live()
        self._journal = self._journal.reopened()
        self._check_journal()
        await trio.sleep_until(min(trio.current_time() + crash.down_s, self._peer.world.heals_at_s))

    def _arm(self, journal: TracedJournal, moment: Moment) -> None:
        journal.die_at_next_write(moment, self._peer.crash)

    def _die(self, journal: TracedJournal) -> None:
        if journal is self._journal and not journal.dead:
            journal.die()
            self._peer.crash()

    async def _live(self) -> None:
        await self._peer.be_there(inf, crashes=False, make_parts=self._parts)

    def _check_journal(self) -> None:
        """What was told to be written is what the next life finds."""
        for job in self._book.jobs_of(self._peer.number):
            self._book.check_kept(job, self._journal.outcomes(job), self._journal.doubtful(job))

    def _parts(self, core: PeerCore) -> Sequence[Part]:
        decisions = partial(self._book.on_decision, self._peer.number)
        accusations = Accusations(core.seam, core.dht, replays=True)
        coordinator = Coordinator(core.seam, core.directory, self._journal, accusations, decisions)
        self._peer.on_event = partial(self._on_event, coordinator)
        jobs = Part("the jobs", partial(self._submit_all, coordinator))
        redo = Part("doing results again", coordinator.redo_doubtful)
        proofs = Part("fraud proofs", partial(accusations.run, coordinator))
        return Part("the coordinator", coordinator.run), redo, proofs, jobs

    def _on_event(self, coordinator: Coordinator, event: NodeEvent) -> None:
        """As `peer/node.py` does; and the user asks for what does not go on by itself, after too many crashes."""
        if not isinstance(event, Joined):
            return
        coordinator.resume_unfinished()
        for job in self._book.jobs_of(self._peer.number):
            if coordinator.view(job).state is JobState.INTERRUPTED:
                coordinator.resume(job)

    async def _submit_all(self, coordinator: Coordinator, *, task_status: "TaskStatus[None]") -> None:
        task_status.started()
        await trio.sleep_until(max(trio.current_time(), self._workload.start_s))
        for place in range(self._workload.jobs):
            await self._book.wait_ended(self._submitted(coordinator, place))
            if self._journal.dead:
                await trio.sleep_forever()  # Just now, at the write that said so: the next life is told.
        self._on_all_ended(self._peer.number)
        await trio.sleep_forever()

    def _submitted(self, coordinator: Coordinator, place: int) -> JobId:
        """A job that a life before has submitted is not submitted again."""
        known = self._book.jobs_of(self._peer.number)
        if place < len(known):
            return known[place]
        return coordinator.submit(self._work.request(self._peer.number, place))
