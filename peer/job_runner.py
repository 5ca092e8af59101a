"""Runs one job: joins the pure machine to the workers, the local slots, the results and time.

No rule is made here: every event goes through `tell`, every effect through `JobEffects.carry_out`.
"""

import logging
from collections.abc import Sequence

import msgspec
import trio

from dht.directory import Directory
from peer.candidates import Candidates
from peer.deadline import DeadlineTimer
from peer.evidence import Evidence
from peer.hand_outs import HandOuts
from peer.job_answers import JobAnswers
from peer.job_effects import JobEffects
from peer.job_items import JobItems
from peer.job_owing import Debt, JobOwing
from peer.job_results import JobResults
from peer.job_setup import JobBooks, check_runnable, manifest_of, needs_of, rules_of, target_of
from peer.job_standing import Standing
from peer.job_terms import JobTerms
from peer.job_view import funnel_in_words, funnel_of, measured, worker_views
from peer.job_watch import watched
from peer.local_slots import LocalSlots, LocalWork
from peer.result_checks import ResultChecks
from peer.result_files import ResultFiles
from peer.result_views import ResultViews
from peer.seam import Seam
from peer.views import JobRequest, JobState, JobView
from peer.worker_pool import WorkerPool
from protocol.adaptive import parse_policy
from protocol.comparators import Kind, parse_comparator
from protocol.errors import LocalError
from protocol.handed_out import Stamp
from protocol.ids import JobId, PeerId
from protocol.job_events import (
    CancelJob,
    Effect,
    Ending,
    Event,
    ItemsAdded,
    ItemsClosed,
    PauseJob,
    Revoked,
    Settled,
    Tick,
    WorkerCondemned,
    WorkerReady,
)
from protocol.job_machine import JobMachine
from protocol.limits import BID_WINDOW_S, LOCAL_CHUNK_CREDIT

log = logging.getLogger(__name__)

SLOTS_WANTED_MAX = 4096
HAND_OVER_GRACE_S = BID_WINDOW_S + 1.0
"""How long the own slots of a job that goes on wait: else they would begin with what workers have already."""

_STATE_OF = {
    Ending.DONE: JobState.DONE,
    Ending.FAILED: JobState.FAILED,
    Ending.NO_WORKER: JobState.FAILED,
    Ending.CANCELLED: JobState.CANCELLED,
    Ending.STOPPED: JobState.STOPPED,
    Ending.PAUSED: JobState.PAUSED,
}


class JobRunner:
    """One job. `run` returns when it has ended; `view` may be asked at any time.

    `numbers`: those in the job of the request's items, where these are a part of it that is run again.
    """

    def __init__(
        self,
        seam: Seam,
        directory: Directory,
        job: JobId,
        request: JobRequest,
        books: JobBooks,
        *,
        open_ended: bool,
        numbers: Sequence[int] | None = None,
    ) -> None:
        target = target_of(request)
        policy = parse_policy(request.verify, target)
        self._me: PeerId = seam.host.peer_id
        self._job = job
        self._request = request
        self._books = books
        can_execute = check_runnable(request, policy, seam)
        comparator = parse_comparator(request.compare)
        if comparator.kind is Kind.RENDER and not can_execute:
            # Pictures of different machines cannot be held against each other here.
            request = self._request = msgspec.structs.replace(request, same_platform=True)
        self._open_ended = open_ended
        self._items = JobItems(numbers)
        self._sizes_bytes = self._items.add(request.items)
        self._candidates = Candidates(comparator, seam.data_folder)
        self._files = ResultFiles(books.files, self._fail)
        self._results = JobResults(books.results, self._candidates, self._files)
        rules = rules_of(request, policy, can_execute=can_execute)
        self._machine = JobMachine(rules, seam.random)
        self._owing = JobOwing(self._machine.workers)
        self._timer = DeadlineTimer(self._machine.next_deadline, lambda: self.tell(Tick()))
        manifest = manifest_of(job, request, seam.identity.peer_id)
        signed = seam.identity.sign(manifest)
        self._standing = Standing(seam.wall_clock, books.on_change)
        self._checks = ResultChecks(seam.executor, manifest, self._items, self._fail) if rules.self_checking else None
        sees = comparator.kind is Kind.RENDER and can_execute
        self._views = ResultViews(seam.executor, manifest, self._fail) if sees else None
        environment = seam.executor.environment(request.runtime) if sees else b""
        evidence = Evidence(signed)
        answers = self._answers(evidence, environment)
        wanted = SLOTS_WANTED_MAX if open_ended else min(SLOTS_WANTED_MAX, len(self._items) * policy.replicas)
        terms = JobTerms(job, signed, request, max(1, wanted), books.trust, books.on_stranger, needs_of(request))
        stamp = Stamp(seam.identity.seed, job)
        outs = HandOuts(stamp, self._items, request.item_timeout_s, seam.wall_clock, books.leases)
        self._pool = WorkerPool(seam, directory, terms, outs, answers)
        work = LocalWork(seam.executor, manifest, self._items.payload, answers.on_local, answers.on_audited)
        self._local = LocalSlots(work, request.local)
        self._effects = JobEffects(
            job=job,
            me=self._me,
            proves_by_digest=comparator.kind in (Kind.EXACT, Kind.RENDER),
            items=self._items,
            candidates=self._candidates,
            results=self._results,
            evidence=evidence,
            pool=self._pool,
            local=self._local,
            books=books,
            note=self.note,
            on_ended=self._on_ended,
        )

    def _answers(self, evidence: Evidence, environment: bytes) -> JobAnswers:
        return JobAnswers(
            self._job,
            self._me,
            self._candidates,
            evidence,
            self._checks,
            self._files,
            self._views,
            environment,
            self._books,
            tell=self.tell,
            note=self.note,
            fail=self._fail,
        )

    # Running.

    async def run(self) -> None:
        """From the first call to the last receipt. Cancelling leaves the job unfinished."""
        with self._candidates:
            await self._run()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pool.run)
            nursery.start_soon(self._local.run)
            nursery.start_soon(self._files.run)
            if self._checks is not None:
                nursery.start_soon(self._checks.run)
            if self._views is not None:
                nursery.start_soon(self._views.run)
            nursery.start_soon(self._timer.run)
            await trio.lowlevel.checkpoint()
            self._begin(nursery)
            await self._standing.wait_finished()
            await self._pool.close(self._standing.message or "the job is done")
            nursery.cancel_scope.cancel()

    def _begin(self, nursery: trio.Nursery) -> None:
        self.tell(ItemsAdded(self._sizes_bytes))
        if self._books.leases is not None and self._books.leases.earlier:
            # Workers have the time to say what they have of an earlier run.
            nursery.start_soon(self._join_in, min(HAND_OVER_GRACE_S, self._request.worker_wait_s / 2))
        else:
            self._take_part()
        if not self._open_ended:
            self.tell(ItemsClosed())

    async def _join_in(self, after_s: float) -> None:
        await trio.sleep(after_s)
        self._take_part()

    def _take_part(self) -> None:
        """This machine works too."""
        if self._request.local:
            self.tell(WorkerReady(self._me, self._request.local, LOCAL_CHUNK_CREDIT, price=0.0, speed=1.0, local=True))

    def tell(self, event: Event) -> None:
        """One event into the machine, its effects out. A local error ends the job, not the peer."""
        if self.finished:
            return
        try:
            for effect in self._machine.handle(event, trio.current_time()):
                self._books.on_effect(effect)
                self._effects.carry_out(effect)
                self._note_owing(effect)
        except LocalError as error:
            self._fail(error)
        if not self._machine.book.open and not self._machine.book.settled:
            self._candidates.clear()
        if isinstance(event, WorkerReady):
            self._standing.started()
        self._timer.rearm()
        self._books.on_change()

    def _note_owing(self, effect: Effect) -> None:
        if self._open_ended:
            return  # It pays as it goes.
        if isinstance(effect, Settled) and (chunk := self._machine.book.get(effect.piece.chunk)) is not None:
            self._owing.settled(chunk)
        elif isinstance(effect, Revoked):
            self._owing.revoked(effect.piece.chunk)

    def owed(self) -> list[Debt]:
        """What this run owes so far, by lease; nothing once it has ended, since then it has paid."""
        return [] if self.finished else self._owing.debts(self._pool.payments.leases, self._books.trust.banned())

    def pay_earlier(self, debts: Sequence[Debt]) -> None:
        """Pay for runs of this job that were cut off, as it ends; who is banned by now has forfeited it."""
        banned = self._books.trust.banned()
        for debt in debts:
            if debt.peer not in banned:
                self._pool.payments.pay_earlier(debt, self._books.add_receipt)

    def add_items(self, items: Sequence[object]) -> range:
        """More items of an open job; returns their numbers. Raises `LocalError` naming a bad one."""
        first = len(self._items)
        sizes_bytes = self._items.add(items)
        self.tell(ItemsAdded(sizes_bytes))
        return range(first, len(self._items))

    def condemn(self, peer: PeerId, reason: str, *, lied: bool) -> None:
        """The peer was found lying elsewhere, or is banned: what rests on its word alone is done again."""
        self.tell(WorkerCondemned(peer, reason, lied))

    def close_items(self) -> None:
        """There will be no more items."""
        self.tell(ItemsClosed())

    def cancel(self) -> None:
        """End the job; what was accepted is kept and paid."""
        self.tell(CancelJob())

    def pause(self) -> None:
        """End this run of the job; what was accepted is kept and paid, what is being computed is lost."""
        self.tell(PauseJob())

    # The end.

    def _on_ended(self, ending: Ending, reason: str) -> None:
        if ending is Ending.NO_WORKER:
            reason = f"{reason}: {self._funnel_in_words()}"
        self._end(_STATE_OF[ending], reason)

    def _fail(self, error: LocalError) -> None:
        log.error("job %s: %s", self._job, error)
        self._end(JobState.FAILED, str(error))

    def _end(self, state: JobState, message: str) -> None:
        if self.finished:
            return
        self._standing.end(state, message)
        self._files.close()
        for peer, tally in self._machine.workers.tallies.items():
            if tally.banned is None and tally.clean > tally.clean_before:
                self._books.add_clean(peer, tally.clean - tally.clean_before, tally.audits)
        self._books.on_end()

    # What people see.

    def note(self, line: str) -> None:
        """A line of the job's story, with the seconds since its start."""
        self._standing.note(line)

    async def wait_finished(self) -> None:
        """Until the job has ended."""
        await self._standing.wait_finished()

    @property
    def finished(self) -> bool:
        """Whether the job has ended."""
        return self._standing.finished

    def view(self, *, so_far: bool = False) -> JobView:
        """The job at this moment; `so_far`: with the bound that holds for what there is, which takes a moment."""
        sent, received = self._pool.traffic()
        view = JobView(
            id=self._job,
            name=self._request.name,
            state=self._standing.state,
            runtime=self._request.runtime,
            verify=self._request.verify,
            compare=self._request.compare,
            comparison=(self._checks or self._candidates).in_words(),
            max_error=self._request.max_error,
            assume_liars=self._request.assume_liars,
            message=self._standing.message or self._waiting_for(),
            submitted_at_unix_s=self._standing.submitted_at_unix_s,
            ended_at_unix_s=self._standing.ended_at_unix_s,
            elapsed_s=self._standing.elapsed_s(),
            items=len(self._items),
            workers=worker_views(self._machine, self._pool.auction, self._me),
            funnel=funnel_of(self._pool.auction, self._pool.lacking),
            bytes_sent=sent,
            bytes_received=received,
            events=self._standing.story(),
        )
        view = measured(view, self._machine, self._results, so_far=so_far)
        view = msgspec.structs.replace(
            view,
            credits=view.credits + self._pool.payments.earlier_credits,
            price=view.price + self._pool.payments.earlier_price,
        )
        return watched(view, self._machine, self._pool.auction, trio.current_time())

    def _waiting_for(self) -> str:
        others = [one for one in self._machine.workers.active.values() if not one.offer.local]
        if self.finished or others:
            return ""
        if not self._pool.searched:
            return "looking for workers in the directory"
        return f"looking for workers: {self._funnel_in_words()}"

    def _funnel_in_words(self) -> str:
        return funnel_in_words(self._pool.auction, self._pool.lacking, self._pool.banned_found)
