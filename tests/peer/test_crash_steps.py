"""A job, its workers and its coordinator through any steps, crash and restart among them: what must always hold.

Nothing here knows how the coordinator goes on. Whatever it is made of, a result that stands is not lost, changed or
executed again, nobody is paid twice, and the job ends once all is well.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dying_journal import Killed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from puppets import Stage, Theatre

from peer.journal import Journal
from peer.views import JobRequest, JobState, JobView, ResultLine
from protocol.ids import JobId

ITEMS = 8
POLICIES = ("none", "quorum:2", "audit:0.5", "adaptive")
NAMES = ("ann", "bob", "cem", "dot")
FRESH = ("xia", "yan", "zoe")
"""Honest workers that nobody has met, for the end."""
END_S = 900
PATIENT_S = 1e6
"""So that a job for which nobody works waits for the end of the faults, instead of failing."""
ASLEEP = (JobState.PAUSED, JobState.INTERRUPTED)
"""Until its owner resumes it."""


class CrashSteps(RuleBasedStateMachine):
    """One job from its submission to its end."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.path = Path(self._folder.name) / "journal.sqlite"
        self.theatre = Theatre(self.path)
        self.stage: Stage = self.theatre.stage
        self.stage.started = self.on_start
        self.job = JobId("")
        self.policy = ""
        self.seen: dict[int, ResultLine] = {}
        """The results that stood after the last step."""
        self.stood: set[int] = set()
        """Items that stood as the coordinator started last, and have since."""
        self.again: list[int] = []
        self.bans = 0
        self.lied: set[str] = set()
        self.failed: set[str] = set()
        self.cancelled = False

    # What is seen.

    def on_start(self, item: int) -> None:
        if item in self.stood:
            self.again.append(item)

    def lines(self) -> dict[int, ResultLine]:
        """The results that count and are in no doubt."""
        with closing(Journal.open(self.path)) as journal:
            doubtful = journal.doubtful(self.job)
            return {one.item: one for one in journal.results(self.job) if one.item not in doubtful}

    def banned(self) -> int:
        with closing(Journal.open(self.path)) as journal:
            rows = journal.read("SELECT COUNT(*) FROM evidence WHERE kind NOT IN ('clean', 'pair')")
            return int(rows[0][0])

    def view(self) -> JobView:
        with closing(Journal.open(self.path)) as journal:
            view = journal.job(self.job)
        assert view is not None, "a job that was taken is not known any more"
        return view

    @property
    def lives(self) -> bool:
        return self.stage.coordinator is not None

    @property
    def state(self) -> JobState:
        async def look() -> JobState:
            assert self.stage.coordinator is not None
            return self.stage.coordinator.view(self.job).state

        return self.theatre.do(look)

    # Steps.

    @initialize(policy=st.sampled_from(POLICIES))
    def submit(self, policy: str) -> None:
        self.policy = policy

        async def begin() -> JobId:
            await self.stage.begin()
            for name in NAMES[:3]:
                await self.stage.join(name)
            request = JobRequest(
                name="j",
                code="def run(item): ...",
                items=[*range(ITEMS)],
                verify=policy,
                local=0,
                worker_wait_s=PATIENT_S,
            )
            job = self.stage.submit(request)
            await self.stage.pass_time(4.0)
            return job

        self.job = self.theatre.do(begin)

    @rule(seconds=st.sampled_from([1.0, 3.0, 8.0]))
    def wait(self, seconds: float) -> None:
        self.theatre.do(self.stage.pass_time, seconds)

    @rule(name=st.sampled_from(NAMES))
    def join(self, name: str) -> None:
        async def join() -> None:
            await self.stage.join(name)
            await self.stage.pass_time(3.0)

        if name not in self.stage.players:
            self.theatre.do(join)

    @precondition(lambda self: self.stage.players)
    @rule(which=st.integers(0, 3), politely=st.booleans())
    def leave(self, which: int, politely: bool) -> None:
        async def leave() -> None:
            await self.stage.leave(name, politely=politely)

        name = sorted(self.stage.players)[which % len(self.stage.players)]
        self.theatre.do(leave)

    def pending(self) -> list[tuple[str, int]]:
        players = sorted(self.stage.players.items())
        return [(name, place) for name, player in players for place, _ in enumerate(player.executor.pending)]

    @precondition(lambda self: self.pending())
    @rule(which=st.integers(0, 5), how=st.sampled_from(["right", "lie", "lie", "fail"]))
    def answer(self, which: int, how: str) -> None:
        pending = self.pending()
        name, place = pending[which % len(pending)]
        self.lied |= {self.stage.players[name].host.peer_id} if how == "lie" else set()
        self.failed |= {name} if how == "fail" else set()

        async def answer() -> None:
            self.stage.players[name].executor.pending[place].end(how, liar=1 + NAMES.index(name))
            await self.stage.pass_time(1.0)

        self.theatre.do(answer)

    @precondition(lambda self: self.pending())
    @rule(rounds=st.integers(1, 4))
    def all_answer_right(self, rounds: int) -> None:
        async def answer() -> None:
            for _ in range(rounds):
                for executor in (self.stage.executor, *(one.executor for one in self.stage.players.values())):
                    for one in executor.pending:
                        one.end("right", liar=0)
                await self.stage.pass_time(1.5)

        self.theatre.do(answer)

    @precondition(lambda self: self.pending())
    @rule(rounds=st.integers(1, 4))
    def one_always_lies(self, rounds: int) -> None:
        liar = self.pending()[0][0]
        self.lied.add(self.stage.players[liar].host.peer_id)

        async def answer() -> None:
            for _ in range(rounds):
                for name, player in self.stage.players.items():
                    for one in player.executor.pending:
                        one.end("lie" if name == liar else "right", liar=1 + NAMES.index(name))
                for one in self.stage.executor.pending:
                    one.end("right", liar=0)
                await self.stage.pass_time(1.5)

        self.theatre.do(answer)

    @precondition(lambda self: self.stage.executor.pending)
    @rule()
    def an_audit_returns(self) -> None:
        async def answer() -> None:
            self.stage.executor.pending[0].end("right", liar=0)
            await self.stage.pass_time(1.0)

        self.theatre.do(answer)

    @precondition(lambda self: self.lives)
    @rule()
    def crash(self) -> None:
        self.theatre.do(self.stage.kill)

    @precondition(lambda self: self.lives)
    @rule(after=st.booleans())
    def crash_at_the_next_write(self, after: bool) -> None:
        self.stage.journal.die_at_next_write(after=after)

    @precondition(lambda self: not self.lives)
    @rule()
    def restart(self) -> None:
        self.stood = set(self.lines())
        self.theatre.do(self.stage.begin)

    @precondition(lambda self: self.lives)
    @rule(what=st.sampled_from(["pause", "resume", "resume"]))
    def pause_or_resume(self, what: str) -> None:
        async def ask() -> None:
            coordinator = self.stage.coordinator
            assert coordinator is not None
            if what == "pause" and not coordinator.view(self.job).state.is_final:
                await self._asked(coordinator.pause)
            elif what == "resume" and coordinator.view(self.job).state in ASLEEP:
                self.stood = set(self.lines())
                await self._asked(coordinator.resume)

        self.theatre.do(ask)

    @precondition(lambda self: self.lives and not self.cancelled and len(self.seen) > ITEMS / 2)
    @rule(really=st.integers(0, 3))
    def cancel(self, really: int) -> None:
        async def ask() -> None:
            assert self.stage.coordinator is not None
            await self._asked(self.stage.coordinator.cancel)

        if really == 0 and self.state is not JobState.DONE:
            self.theatre.do(ask)
            self.cancelled = True

    async def _asked(self, ask: Callable[[JobId], None]) -> None:
        """The user may ask at the moment at which the coordinator dies."""
        with suppress(Killed):
            ask(self.job)
        await self.stage.settle()

    # What must hold.

    @invariant()
    def what_stands_stays(self) -> None:
        if not self.job:
            return
        now, bans = self.lines(), self.banned()
        for item, line in self.seen.items():
            if item not in now:
                assert bans > self.bans, f"item {item} is lost, and nobody was found lying"
                self.stood.discard(item)
            elif now[item] != line:
                assert bans > self.bans, f"item {item} was {line} and is {now[item]}"
        self.seen, self.bans = now, bans
        assert not self.again, f"items {self.again} stood before a restart and were executed again"

    @invariant()
    def nobody_is_paid_twice(self) -> None:
        with closing(Journal.open(self.path)) as journal:
            receipts = journal.read("SELECT peer, credits FROM receipts WHERE given")
            owed = journal.read("SELECT owed.lease FROM owed, receipts WHERE instr(receipts.envelope, owed.lease) > 0")
        assert not owed, "what is paid is still owed"
        for peer in {peer for peer, _ in receipts}:
            paid = sum(credits for who, credits in receipts if who == peer)
            assert paid <= self.stage.executed_by(peer) + 1e-6, f"{peer} was paid {paid}"
            assert self.stage.earned[peer] <= paid + 1e-6, f"{peer} has receipts that were never written down"

    @invariant()
    def books_agree(self) -> None:
        async def check() -> None:
            for player in self.stage.players.values():
                player.worker.check_invariants()
            if self.stage.coordinator is not None:
                for runner in self.stage.coordinator._runners.values():
                    runner._machine.check_invariants()

        if self.job:
            self.theatre.do(check)

    def teardown(self) -> None:
        """The faults stop: honest workers come, everybody answers, and the job must end."""
        try:
            if self.job:
                self.theatre.do(self._end_well)
                self.what_stands_stays()
                self.nobody_is_paid_twice()
                self._check_results(self.view())
        finally:
            with self._folder:
                self.theatre.close()

    async def _end_well(self) -> None:
        stage = self.stage
        stage.journal.dies_at = float("inf")
        if stage.coordinator is None:
            self.stood = set(self.lines())
            await stage.begin()
        assert stage.coordinator is not None
        for name in FRESH:
            await stage.join(name)
        for executor in (stage.executor, *(one.executor for one in stage.players.values())):
            executor.by_itself = True
            for one in executor.pending:
                one.end("right", 0)
        if stage.coordinator.view(self.job).state in ASLEEP:
            stage.coordinator.resume(self.job)
        for _ in range(END_S):
            view = stage.coordinator.view(self.job)
            if view.state.is_final and not view.doubtful:
                return
            await stage.pass_time(1.0)
        raise AssertionError(f"the job does not end: {view.state}, {view.message}, {view.chunks}, {view.doubtful}")

    def _check_results(self, view: JobView) -> None:
        lines = self.lines()
        assert view.state in (JobState.DONE, JobState.CANCELLED)
        assert view.state is JobState.CANCELLED or lines.keys() == {*range(ITEMS)}, "a job is done without a result"
        for item, line in lines.items():
            if not line.ok:
                assert self.failed, f"item {item} was given up, and nobody has failed"
            elif line.result != item * item:
                assert line.worker in self.lied and self.policy != "quorum:2", f"item {item}: {line}"
        assert view.items_done + view.items_failed == len(lines)


TestCrashSteps = CrashSteps.TestCase
TestCrashSteps.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[*HealthCheck]
)
TestCrashSteps.pytestmark = [pytest.mark.slow]
