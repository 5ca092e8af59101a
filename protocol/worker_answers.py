"""Answers of one lease on their way back: batched, committed to, sent.

Chunks that finish close together share a message and a signature. A batch is due when it is full,
when as many answers wait as chunks remain (so that the coordinator can refill in time, and the last
answer never waits), or when its oldest answer has waited `RESULT_DELAY_S`.
"""

from collections import deque
from dataclasses import dataclass, field
from math import inf

from protocol.commitments import CommitmentTerms, Committed, commit
from protocol.ids import ChunkId, digest
from protocol.limits import (
    CHUNK_RESULT_BYTES_MAX,
    CHUNKS_PER_BATCH_MAX,
    LOG_BYTES_PER_CHUNK_MAX,
    RESULT_BATCH_BYTES_MAX,
    RESULT_BATCHES_IN_FLIGHT_MAX,
    RESULT_DELAY_S,
    TEXT_LENGTH_MAX,
)
from protocol.messages import Message
from protocol.messages.job import ChunkFailure, ChunkResult, FailureKind, PayloadPart, Results
from protocol.payloads import inline_or_parts
from protocol.signing import Envelope, Identity

_ANSWER_OVERHEAD_BYTES = 256


@dataclass(slots=True)
class _Batch:
    since: float
    size_bytes: int = 0
    parts: list[PayloadPart] = field(default_factory=list)
    results: list[ChunkResult] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    """The digests of their inputs."""
    failures: list[ChunkFailure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.results) + len(self.failures)


class Answers:
    """The answers of one lease that have not been sent; owns the lease's commitment sequence."""

    def __init__(self, identity: Identity, terms: CommitmentTerms) -> None:
        self.in_flight = 0
        """Batches handed over for sending and not yet reported as sent."""
        self.size_bytes = 0
        """Bytes that wait here."""
        self._identity = identity
        self._terms = terms
        self._sequence = 0
        self._batches: deque[_Batch] = deque()

    def __len__(self) -> int:
        return sum(len(batch) for batch in self._batches)

    def add_result(
        self, chunk: ChunkId, input_digest: bytes, data: bytes, compute_s: float, log: bytes, now: float
    ) -> None:
        """A chunk that ran to its end; one over `CHUNK_RESULT_BYTES_MAX` becomes a failure."""
        if len(data) > CHUNK_RESULT_BYTES_MAX:
            detail = f"the result has {len(data)} bytes; at most {CHUNK_RESULT_BYTES_MAX} are allowed"
            self.add_failure(chunk, FailureKind.TOO_LARGE, 0, detail, log, now)
            return
        inline, parts = inline_or_parts(data)
        log = log[-LOG_BYTES_PER_CHUNK_MAX:]
        batch = self._batch_for(len(data) + len(log), now)
        batch.parts += parts
        batch.inputs.append(input_digest)
        batch.results.append(
            ChunkResult(
                chunk=chunk, digest=digest(data), size_bytes=len(data), data=inline, compute_s=compute_s, log=log
            )
        )

    def add_failure(self, chunk: ChunkId, kind: FailureKind, item: int, detail: str, log: bytes, now: float) -> None:
        """A chunk that did not run to its end."""
        detail, log = detail[:TEXT_LENGTH_MAX], log[-LOG_BYTES_PER_CHUNK_MAX:]
        batch = self._batch_for(4 * len(detail) + len(log), now)
        batch.failures.append(ChunkFailure(chunk=chunk, kind=kind, item=item, detail=detail, log=log))

    def commit_alone(self, chunk: ChunkId, input_digest: bytes, result: bytes) -> Envelope:
        """A commitment to one result alone, that is kept and not sent; `result` is its digest."""
        envelope = commit(self._identity, self._terms, self._sequence, [Committed(chunk, input_digest, result)])
        self._sequence += 1
        return envelope

    def take_due(self, now: float, remaining: int, *, force: bool = False) -> tuple[Message, ...] | None:
        """The next batch as messages, committed to, when it is due and few enough are in flight; or None."""
        if not self._batches or not (force or (self._may_send() and self._is_due(now, remaining))):
            return None
        batch = self._batches.popleft()
        self.size_bytes -= batch.size_bytes
        self.in_flight += 1
        return (*batch.parts, self._message(batch))

    def next_deadline(self) -> float:
        """When the waiting batch is due; never while too many are in flight."""
        return self._batches[0].since + RESULT_DELAY_S if self._batches and self._may_send() else inf

    def _may_send(self) -> bool:
        return self.in_flight < RESULT_BATCHES_IN_FLIGHT_MAX

    def _is_due(self, now: float, remaining: int) -> bool:
        first = self._batches[0]
        full = len(self._batches) > 1 or len(first) >= CHUNKS_PER_BATCH_MAX
        return full or len(first) >= remaining or now >= first.since + RESULT_DELAY_S

    def _batch_for(self, size_bytes: int, now: float) -> _Batch:
        size_bytes += _ANSWER_OVERHEAD_BYTES
        last = self._batches[-1] if self._batches else None
        if last is None or len(last) >= CHUNKS_PER_BATCH_MAX or last.size_bytes + size_bytes > RESULT_BATCH_BYTES_MAX:
            last = _Batch(now)
            self._batches.append(last)
        last.size_bytes += size_bytes
        self.size_bytes += size_bytes
        return last

    def _message(self, batch: _Batch) -> Results:
        envelope = None
        if batch.results:
            given = zip(batch.results, batch.inputs, strict=True)
            committed = [Committed(result.chunk, input_digest, result.digest) for result, input_digest in given]
            envelope = commit(self._identity, self._terms, self._sequence, committed)
            self._sequence += 1
        return Results(
            lease=self._terms.lease, commitment=envelope, results=tuple(batch.results), failures=tuple(batch.failures)
        )
