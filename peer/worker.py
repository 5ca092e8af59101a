"""The worker: serves job streams, one session each, and drives the worker machine.

It owns the machine, its timer and the nursery of the sessions. A session that fails is reset, logged
and counted; the others go on.
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

import trio

from peer.seam import Seam
from peer.worker_session import WorkerSession
from protocol.bodies import Receipt
from protocol.errors import LocalError, RemoteError, Unavailable
from protocol.ids import PeerId
from protocol.kept_results import KeptFor, KeptShelf
from protocol.limits import COORDINATORS_REMEMBERED_MAX
from protocol.network import JOB_PROTOCOL, Stream
from protocol.signing import Envelope
from protocol.worker_events import (
    Effect,
    Event,
    HearComplaint,
    KeepReceipt,
    Resume,
    SessionEnded,
    SessionOpened,
    Stop,
    Suspend,
    Tick,
)
from protocol.worker_machine import WorkerMachine
from protocol.worker_memory import NO_MEMORY, WorkerMemory
from protocol.worker_policy import WorkerPolicy

if TYPE_CHECKING:
    from trio_typing import TaskStatus

STOP_TIMEOUT_S = 2.0
CLOSE_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)

OnReceipt = Callable[[Envelope, Receipt], None]
OnComplaint = Callable[[PeerId, str], None]


@dataclass(frozen=True, slots=True)
class WorkerNumbers:
    """What the worker does at one moment."""

    slots: int
    slots_busy: int
    leases: int
    sessions: int
    chunks_run: int
    credits_earned: float
    kept: tuple[KeptFor, ...]
    """Results for coordinators that vanished."""
    violations: int
    """Sessions that were reset because the coordinator broke the protocol."""


class Worker:
    """The worker role of one peer.

    `memory` says whom to serve first; on `shelf` results are kept for coordinators that vanished. `on_receipt` is
    called, without waiting, for each receipt before anything else happens; a `LocalError` from it is logged.
    `on_complaint` is told, without waiting, what a coordinator says was wrong. Raises `LocalError` when a runtime's
    environment cannot be told.
    """

    def __init__(
        self,
        seam: Seam,
        policy: WorkerPolicy,
        *,
        on_receipt: OnReceipt | None = None,
        on_complaint: OnComplaint = lambda coordinator, text: None,
        memory: WorkerMemory = NO_MEMORY,
        shelf: KeptShelf | None = None,
    ) -> None:
        self._seam = seam
        self._on_receipt = on_receipt
        self._on_complaint = on_complaint
        offers = seam.executor.offers()
        policy = replace(
            policy,
            versions={offer.name: offer.version for offer in offers},
            sandboxes={offer.name: offer.sandbox for offer in offers},
        )
        names = sorted(policy.versions)
        offered = [name for name in names if policy.offers(name)]
        environments = {name: seam.executor.environment(name) for name in offered}
        self._machine = WorkerMachine(seam.identity, policy, environments, seam.random, memory, shelf)
        self._capacity = trio.CapacityLimiter(max(1, policy.slots))
        self._numbers = itertools.count()
        self._sessions: dict[int, WorkerSession] = {}
        self._ended = trio.lowlevel.ParkingLot()
        self._violations: dict[PeerId, int] = {}
        self._timer = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled or `stop_politely`; sessions that are open then are reset."""
        self._machine.restore(trio.current_time())
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._seam.host.serve(JOB_PROTOCOL, self._accept)
                task_status.started()
                await self._tick_on_time()
        finally:
            self._nursery = None

    async def stop_politely(self) -> None:
        """Leave all leases, tell their coordinators, end `run`; takes at most `STOP_TIMEOUT_S`."""
        self._handle(Stop())
        with trio.move_on_after(STOP_TIMEOUT_S):
            while self._sessions:
                await self._ended.park()
        if self._nursery:
            self._nursery.cancel_scope.cancel()

    def suspend(self, reason: str) -> None:
        """Leave all leases and take no calls until `resume`; coordinators are told the reason. Idempotent."""
        if self._machine.suspended != reason:
            self._handle(Suspend(reason))

    def resume(self) -> None:
        """Take calls again. Idempotent."""
        self._handle(Resume())

    @property
    def suspended(self) -> str | None:
        """Why it does not work at this moment; None: it may."""
        return self._machine.suspended

    def view(self) -> WorkerNumbers:
        """The numbers for a status."""
        machine = self._machine
        return WorkerNumbers(
            slots=machine.policy.slots,
            slots_busy=machine.slots_busy,
            leases=machine.lease_count,
            sessions=len(self._sessions),
            chunks_run=machine.chunks_run,
            credits_earned=machine.ledger.credits,
            kept=tuple(machine.kept()),
            violations=sum(self._violations.values()),
        )

    def violations(self) -> dict[PeerId, int]:
        """How often each coordinator broke the protocol; the last `COORDINATORS_REMEMBERED_MAX` that did."""
        return dict(self._violations)

    def check_invariants(self) -> None:
        """Raise AssertionError when the books of machine and sessions do not agree; for tests."""
        self._machine.check_invariants()

    def _handle(self, event: Event) -> None:
        for effect in self._machine.handle(event, trio.current_time()):
            self._execute(effect)
        self._timer.deadline = self._machine.next_deadline()

    def _execute(self, effect: Effect) -> None:
        if isinstance(effect, KeepReceipt):
            self._keep(effect)
        elif isinstance(effect, HearComplaint):
            self._on_complaint(effect.coordinator, effect.text)
        elif session := self._sessions.get(effect.session):
            session.execute_nowait(effect)

    def _keep(self, effect: KeepReceipt) -> None:
        if self._on_receipt is None:
            return
        try:
            self._on_receipt(effect.envelope, effect.receipt)
        except LocalError as error:
            logger.error("a receipt over %g credits could not be kept: %s", effect.receipt.credits, error)

    async def _tick_on_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._machine.next_deadline()) as self._timer:
                await trio.sleep(inf)
            self._handle(Tick())

    async def _accept(self, stream: Stream) -> None:
        if self._nursery is None:
            await stream.reset()
        else:
            self._nursery.start_soon(self._supervise, stream)

    async def _supervise(self, stream: Stream) -> None:
        """The boundary of one session: whatever goes wrong in it is logged and counted, and ends here."""
        orderly = False
        try:
            await self._run_session(stream)
            orderly = True
        except* RemoteError as group:
            self._count_violation(stream.remote_peer, group)
        except* Unavailable as group:
            logger.info("job stream of %s was cut: %s", stream.remote_peer, _text(group))
        except* Exception:
            logger.exception("job stream of %s failed here", stream.remote_peer)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + CLOSE_TIMEOUT_S, shield=True):
                await (stream.close() if orderly else stream.reset())

    async def _run_session(self, stream: Stream) -> None:
        number = next(self._numbers)
        session = WorkerSession(
            number, stream, self._seam.executor, self._capacity, self._handle, self._machine.pause_if_full
        )
        self._sessions[number] = session
        try:
            self._handle(SessionOpened(number, stream.remote_peer))
            await session.run()
        finally:
            del self._sessions[number]
            self._handle(SessionEnded(number))
            self._ended.unpark_all()

    def _count_violation(self, peer: PeerId, group: BaseExceptionGroup[RemoteError]) -> None:
        logger.warning("job stream of %s broke the protocol: %s", peer, _text(group))
        self._violations[peer] = self._violations.pop(peer, 0) + 1
        if len(self._violations) > COORDINATORS_REMEMBERED_MAX:
            del self._violations[next(iter(self._violations))]


def _text(group: BaseExceptionGroup[Exception]) -> str:
    """The messages of all errors in the group."""
    texts = []
    for error in group.exceptions:
        texts.append(_text(error) if isinstance(error, BaseExceptionGroup) else str(error))
    return "; ".join(texts)
