"""One lease on the worker's side: its queue of chunks, its slots, its answers, its signs of life.

Chunks start in the order in which they were assigned. Every assigned chunk is answered once, unless
it is cancelled or the lease ends. What the coordinator does against the rules raises `RemoteError`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from protocol.bodies import Manifest
from protocol.commitments import CommitmentTerms
from protocol.errors import BadFrame
from protocol.ids import ChunkId, JobId, LeaseId, PeerId, digest
from protocol.limits import (
    CHUNK_CREDIT_PER_SLOT,
    CHUNK_INPUT_BYTES_MAX,
    CHUNK_RESULT_BYTES_MAX,
    CHUNKS_PER_BATCH_MAX,
    HEARTBEAT_INTERVAL_S,
    HEARTBEATS_MISSED_MAX,
    LEASE_INPUT_BYTES_MAX,
    LEASE_OUTPUT_BYTES_MAX,
)
from protocol.messages.job import FailureKind, Heartbeat, Ready
from protocol.messages.kept import HandedOut
from protocol.signing import Envelope, Identity
from protocol.unsettled import Finished, StillRuns, Unsettled
from protocol.worker_answers import Answers
from protocol.worker_events import (
    ChunkFailed,
    ChunkRan,
    ChunkStopped,
    Effect,
    ReadOn,
    RunnerFailed,
    RunnerReady,
    Send,
    SlotEvent,
    StartChunk,
    StopChunk,
)
from protocol.worker_slot import Slot, SlotState, SlotTrigger

SILENCE_S_MAX = HEARTBEAT_INTERVAL_S * HEARTBEATS_MISSED_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """What was agreed on."""

    session: int
    lease: LeaseId
    coordinator: PeerId
    manifest: Manifest
    manifest_digest: bytes
    """Of its signed body."""
    price: float
    slots: int
    cores: int
    """Of the worker, for all slots."""
    memory_bytes: int
    environment: bytes

    @property
    def job(self) -> JobId:
        """The job that the chunks belong to."""
        return self.manifest.job

    @property
    def chunk_credit(self) -> int:
        """How many chunks may be with the worker at a time."""
        return CHUNK_CREDIT_PER_SLOT * self.slots


class Lease:
    """A lease in force. `pump` gives what is to be done after each change; the session's owner calls it."""

    def __init__(self, terms: LeaseTerms, identity: Identity, now: float) -> None:
        self.terms = terms
        committed = CommitmentTerms(terms.job, terms.lease, terms.manifest_digest, terms.environment)
        self.answers = Answers(identity, committed)
        self.queue: dict[ChunkId, bytes] = {}
        self.slots = [Slot(index) for index in range(terms.slots)]
        self.idle_since = now
        self.input_size_bytes = 0
        self.chunks_run = 0
        self.compute_s = 0.0
        """For the results of this lease."""
        self._idle: deque[Slot] = deque()
        self._running: dict[ChunkId, Slot] = {}
        self._inputs: dict[ChunkId, bytes] = {}
        """Digests of the inputs of the chunks that run."""
        self._handed_out: dict[ChunkId, HandedOut] = {}
        """Of chunks that wait or run, where their coordinator would take their results later too."""
        self.unsettled = Unsettled()
        self._broken: str | None = None
        self._heard_at = now
        self._heartbeat_at = now + HEARTBEAT_INTERVAL_S
        self._paused = False

    # What the coordinator does.

    def ready(self, introductions: Sequence[Envelope]) -> Ready:
        """The message that opens the lease."""
        terms = self.terms
        return Ready(
            lease=terms.lease,
            chunk_credit=terms.chunk_credit,
            environment=terms.environment,
            introductions=tuple(introductions),
        )

    def heard(self, now: float) -> None:
        """Any message of the coordinator is a sign of life."""
        self._heard_at = now

    def assign(self, chunks: Sequence[tuple[ChunkId, bytes, HandedOut | None]]) -> None:
        """Queue chunks; raises `BadFrame` beyond the credit, for a chunk that is here already, or a huge input."""
        if len(self.queue) + len(self._running) + len(chunks) > self.terms.chunk_credit:
            raise BadFrame(f"more than {self.terms.chunk_credit} chunks assigned at a time")
        for chunk, data, handed_out in chunks:
            if chunk in self.queue or chunk in self._running:
                raise BadFrame(f"chunk {chunk} assigned twice")
            if len(data) > CHUNK_INPUT_BYTES_MAX:
                raise BadFrame(f"chunk {chunk} has an input of {len(data)} bytes")
            self.queue[chunk] = data
            self.input_size_bytes += len(data)
            if handed_out is not None:
                self._handed_out[chunk] = handed_out

    def cancel(self, chunks: Iterable[ChunkId]) -> Iterator[Effect]:
        """Drop chunks that wait, stop those that run; unknown ones are ignored (their answer is on its way)."""
        for chunk in chunks:
            self._handed_out.pop(chunk, None)
            if chunk in self.queue:
                self.input_size_bytes -= len(self.queue.pop(chunk))
            elif slot := self._running.pop(chunk, None):
                del self._inputs[chunk]
                slot.move(SlotTrigger.STOP)
                yield StopChunk(self.terms.session, self.terms.lease, slot.index)

    # What happens on the slots.

    def on_slot(self, event: SlotEvent, now: float) -> None:
        """Take what a slot reports."""
        slot = self.slots[event.slot]
        match event:
            case RunnerReady():
                slot.move(SlotTrigger.RUNNER_READY)
                self._idle.append(slot)
            case RunnerFailed():
                slot.move(SlotTrigger.RUNNER_FAILED)
                self._broken = event.detail
            case ChunkRan() | ChunkFailed() | ChunkStopped():
                self._end_chunk(slot, event, now)

    def _end_chunk(self, slot: Slot, event: ChunkRan | ChunkFailed | ChunkStopped, now: float) -> None:
        chunk = slot.chunk
        slot.move(SlotTrigger.END)
        self._idle.append(slot)
        if chunk is None:
            return
        del self._running[chunk]
        input_digest = self._inputs.pop(chunk)
        handed_out = self._handed_out.pop(chunk, None)
        self.chunks_run += 1
        match event:
            case ChunkRan(data=data, compute_s=compute_s, log=log):
                self.compute_s += compute_s
                if handed_out is not None and len(data) <= CHUNK_RESULT_BYTES_MAX:
                    self.unsettled.add(Finished(chunk, handed_out, input_digest, data, compute_s, log))
                self.answers.add_result(chunk, input_digest, data, compute_s, log, now)
            case ChunkFailed(kind=kind, item=item, detail=detail, log=log):
                self.answers.add_failure(chunk, kind, item, detail, log, now)
            case ChunkStopped():
                self.answers.add_failure(chunk, FailureKind.CRASHED, 0, "stopped by the worker", b"", now)

    # What follows.

    def pump(self, now: float) -> Iterator[Effect]:
        """Start what can start, send what is due; also when a deadline may have passed."""
        self._fail_all_without_runners(now)
        yield from self._start_chunks()
        yield from self.flush(now)
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + HEARTBEAT_INTERVAL_S
            yield Send(self.terms.session, (Heartbeat(lease=self.terms.lease, running=self.running()),))
        if self._paused and not self.is_full:
            self._paused = False
            self._heard_at = now
            yield ReadOn(self.terms.session)
        if not self.is_idle:
            self.idle_since = now

    def flush(self, now: float, *, force: bool = False) -> Iterator[Effect]:
        """Send the answers that are due; all of them when forced."""
        while (messages := self.answers.take_due(now, self.remaining, force=force)) is not None:
            yield Send(self.terms.session, messages, self.terms.lease)

    def pause_if_full(self) -> bool:
        """Whether to stop reading the stream until `ReadOn`: the bytes that wait are bounded."""
        self._paused = self.is_full
        return self._paused

    def _start_chunks(self) -> Iterator[Effect]:
        while self.queue and self._idle and self.answers.size_bytes < LEASE_OUTPUT_BYTES_MAX:
            chunk = next(iter(self.queue))
            data = self.queue.pop(chunk)
            self.input_size_bytes -= len(data)
            slot = self._idle.popleft()
            slot.move(SlotTrigger.START, chunk)
            self._running[chunk] = slot
            self._inputs[chunk] = digest(data)
            yield StartChunk(self.terms.session, self.terms.lease, slot.index, chunk, data)

    def _fail_all_without_runners(self, now: float) -> None:
        if self._broken is None or any(slot.state is not SlotState.BROKEN for slot in self.slots):
            return
        for chunk in self.queue:
            self._handed_out.pop(chunk, None)
            self.answers.add_failure(chunk, FailureKind.ENVIRONMENT, 0, self._broken, b"", now)
        self.queue.clear()
        self.input_size_bytes = 0

    # Questions.

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a coordinator that comes back could use anything of it."""
        return bool(self.unsettled) or any(chunk in self._handed_out for chunk in self._running)

    def slots_running(self) -> dict[int, ChunkId]:
        """The slots that run a chunk, and which."""
        return {slot.index: chunk for chunk, slot in self._running.items()}

    def still_running(self) -> list[StillRuns]:
        """What runs and would be of use to a coordinator that comes back."""
        return [
            StillRuns(slot.index, chunk, self._handed_out[chunk], self._inputs[chunk])
            for chunk, slot in self._running.items()
            if chunk in self._handed_out
        ]

    @property
    def remaining(self) -> int:
        """Chunks that wait or run."""
        return len(self.queue) + len(self._running)

    @property
    def is_idle(self) -> bool:
        """Nothing waits, runs or is unsent."""
        return not (self.queue or self._running or self.answers.size_bytes or self.answers.in_flight)

    @property
    def is_full(self) -> bool:
        """Whether the inputs that wait have reached `LEASE_INPUT_BYTES_MAX`."""
        return self.input_size_bytes >= LEASE_INPUT_BYTES_MAX

    def running(self) -> tuple[ChunkId, ...]:
        """Chunks in execution, at most as many as a heartbeat may name."""
        return tuple(sorted(self._running))[:CHUNKS_PER_BATCH_MAX]

    def is_silent(self, now: float) -> bool:
        """Whether the coordinator missed its heartbeats; never while we do not read it."""
        return not self._paused and now >= self._heard_at + SILENCE_S_MAX

    def next_deadline(self) -> float:
        """When something is due if nothing happens."""
        silence = inf if self._paused else self._heard_at + SILENCE_S_MAX
        return min(self._heartbeat_at, silence, self.answers.next_deadline())

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree."""
        running = {slot.chunk: slot for slot in self.slots if slot.state is SlotState.RUNNING}
        assert running == self._running, (running, self._running)
        assert self._inputs.keys() == running.keys(), (self._inputs, running)
        assert all(slot.chunk is None for slot in self.slots if slot.state is not SlotState.RUNNING)
        assert {slot.index for slot in self._idle} == {s.index for s in self.slots if s.state is SlotState.IDLE}
        assert len(self._idle) == len({slot.index for slot in self._idle})
        assert not self.queue.keys() & running.keys()
        assert self.remaining <= self.terms.chunk_credit
        assert self._handed_out.keys() <= self.queue.keys() | running.keys()
        assert self.input_size_bytes == sum(map(len, self.queue.values()))
        assert not (self.queue and self._idle and self.answers.size_bytes < LEASE_OUTPUT_BYTES_MAX), "idle slot"
