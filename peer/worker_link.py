"""The coordinator's end of one stream to one worker: messages out, checked events in.

Everything that a worker says is checked here: a wrong commitment, a result for a chunk that it was
not given or a malformed result is a `RemoteError`, after which the stream is reset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from peer.hand_outs import HandOuts
from peer.hand_over import CheckedResult, HandOver
from protocol.channel import MessageChannel
from protocol.chunk import Failure
from protocol.commitments import CommitmentTerms, Committed, SignedBatch, check_commitment
from protocol.errors import BadFrame, RemoteError, Unavailable
from protocol.ids import ChunkId, JobId, LeaseId, PeerId, digest
from protocol.job_events import Piece
from protocol.limits import (
    CHUNK_RESULT_BYTES_MAX,
    CHUNKS_PER_BATCH_MAX,
    INLINE_SIZE_BYTES_MAX,
    REQUEST_TIMEOUT_S,
)
from protocol.messages import Message
from protocol.messages.job import (
    JOB_CODEC,
    Assign,
    Assignment,
    Bid,
    CancelChunks,
    ChunkFailure,
    ChunkResult,
    Heartbeat,
    Leaving,
    PayloadPart,
    Ready,
    Refusal,
    Results,
)
from protocol.messages.kept import Kept, KeptChunk
from protocol.network import Stream
from protocol.outcomes import decode_outcomes, files_of
from protocol.parties import party_of
from protocol.payloads import PayloadCollector, inline_or_parts
from protocol.payroll import believable_s

MESSAGES_QUEUED_MAX = 4096
PAYLOAD_BYTES_PER_ASSIGN_MAX = 2 * INLINE_SIZE_BYTES_MAX
CANCELLED_REMEMBERED_MAX = 1024
RESULT_BYTES_COLLECTED_MAX = 4 * CHUNK_RESULT_BYTES_MAX
RESULT_BATCHES_PER_PASS_MAX = 4
"""Taken in during one pass of the event loop, from all workers of a job: a pass is how long everybody else waits, and
an owner who asks for the status waits for a dozen of them."""
RESULTS_WAIT_S_MAX = 0.5
"""So long at most for a turn, since a worker's signs of life come behind its results."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A chunk that the worker has been given, when, and the digest of its input."""

    piece: Piece
    input: bytes
    at: float


class LinkOwner(Protocol):
    """Who is told what a worker says. Calls are synchronous and must not block."""

    def on_bid(self, link: "WorkerLink", bid: Bid) -> None:
        """The worker bids."""

    def on_refusal(self, link: "WorkerLink", refusal: Refusal) -> None:
        """The worker refuses the call or the award."""

    def on_ready(self, link: "WorkerLink", ready: Ready) -> None:
        """The lease is on."""

    def on_heard(self, link: "WorkerLink", running: tuple[ChunkId, ...]) -> None:
        """A heartbeat."""

    def on_result(self, link: "WorkerLink", result: CheckedResult) -> None:
        """A checked result."""

    def on_failure(self, link: "WorkerLink", piece: Piece, failure: Failure, log: bytes) -> None:
        """A chunk that could not be run to its end."""

    def on_kept(self, link: "WorkerLink", kept: KeptChunk, place: tuple[int, int]) -> None:
        """The worker has something of an earlier run, for these places of this one."""


class WorkerLink:
    """One open stream. `converse` runs it; `send` and `assign` queue messages and never block."""

    def __init__(
        self,
        stream: Stream,
        job: JobId,
        manifest: bytes,
        owner: LinkOwner,
        outs: HandOuts,
        pace: trio.CapacityLimiter,
    ) -> None:
        self.channel = MessageChannel(stream, JOB_CODEC)
        self.party = party_of(stream.remote_address)
        self.lease: LeaseId | None = None
        self.price = 0.0
        self.slots = 0
        self.bid: Bid | None = None
        self._stream = stream
        self._job = job
        self._manifest = manifest
        self._owner = owner
        self._outs = outs
        self.hand_over = HandOver(stream.remote_peer, job, manifest, outs, self, self.send)
        self._settled: list[ChunkId] = []
        self._pace = pace
        self._terms: CommitmentTerms | None = None
        self._sequence = 0
        self._collector = PayloadCollector(RESULT_BYTES_COLLECTED_MAX)
        self._assigned: dict[ChunkId, _Given] = {}
        self._cancelled: dict[ChunkId, _Given] = {}
        self.is_seen_off = False
        """Whether its last words are said."""
        self._drained = trio.Event()
        self.ended = trio.Event()
        """Set once nothing comes any more."""
        self._outgoing_send, self._outgoing = trio.open_memory_channel[Message](MESSAGES_QUEUED_MAX)

    @property
    def peer(self) -> PeerId:
        """Who is at the other end."""
        return self.channel.remote_peer

    # Out.

    def send(self, *messages: Message) -> None:
        """Queue messages; raises `Unavailable` when the worker has not taken thousands of them.

        After the last words nothing follows: a heartbeat that came just then would cut these off.
        """
        if self.is_seen_off:
            return
        try:
            for message in messages:
                self._outgoing_send.send_nowait(message)
        except (trio.WouldBlock, trio.ClosedResourceError) as error:
            raise Unavailable(f"{self.peer} does not read what it is sent") from error

    def assign(self, pieces: Sequence[tuple[Piece, bytes]]) -> None:
        """Queue chunks with their inputs, as many messages as the limits ask for."""
        assert self.lease is not None
        batch: list[Assignment] = []
        size = 0
        for piece, payload in pieces:
            given = self._assigned[piece.chunk] = _Given(piece, digest(payload), trio.current_time())
            inline, parts = inline_or_parts(payload)
            self.send(*parts)
            if batch and (size + len(payload) > PAYLOAD_BYTES_PER_ASSIGN_MAX or len(batch) == CHUNKS_PER_BATCH_MAX):
                self.send(Assign(lease=self.lease, chunks=tuple(batch)))
                batch, size = [], 0
            mark = self._outs.mark(self.peer, self.lease, piece, given.input)
            batch.append(Assignment(chunk=piece.chunk, digest=given.input, data=inline, handed_out=mark))
            size += len(payload)
        self.send(Assign(lease=self.lease, chunks=tuple(batch)))

    def cancel(self, chunks: Sequence[ChunkId]) -> None:
        """Tell the worker that these are no longer wanted; a result that is under way is still let in."""
        assert self.lease is not None
        chunks = [chunk for chunk in chunks if not self.hand_over.call_off(chunk)]
        for chunk in chunks:
            if (given := self._assigned.pop(chunk, None)) is not None:
                self._cancelled[chunk] = given
        while len(self._cancelled) > CANCELLED_REMEMBERED_MAX:
            del self._cancelled[next(iter(self._cancelled))]
        if chunks:
            self.send(CancelChunks(lease=self.lease, chunks=tuple(chunks)))

    def settled(self, chunk: ChunkId) -> None:
        """A result of a chunk that the worker has answered for is in the books: it hears so with a heartbeat."""
        self._settled.append(chunk)

    def beat(self) -> None:
        """A sign of life, once there is a lease, with all that was settled since the last."""
        if self.lease is None:
            return
        settled, self._settled = self._settled, []
        for first in range(0, max(1, len(settled)), CHUNKS_PER_BATCH_MAX):
            self.send(Heartbeat(lease=self.lease, settled=tuple(settled[first : first + CHUNKS_PER_BATCH_MAX])))

    async def finish(self, *messages: Message) -> None:
        """Send the last words, end the stream in an orderly way, wait for the other end; bounded in time.

        A reset at once would overtake the last words: what is under way may be thrown away by it.
        """
        self.is_seen_off = True
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            try:
                for message in messages:
                    await self._outgoing_send.send(message)
                self._outgoing_send.close()
                await self._drained.wait()
                await self._stream.close()
            except (Unavailable, trio.BrokenResourceError):
                return
            except trio.ClosedResourceError:
                # Whoever was dismissed as the job ended is being seen off already: that must not be cut short.
                pass
            await self.ended.wait()

    # In.

    async def converse(self) -> None:
        """Read and write until the stream ends; raises `Unavailable` or `RemoteError`, the stream reset."""
        problem: Unavailable | RemoteError = Unavailable(f"the stream to {self.peer} broke while sending")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                try:
                    while True:
                        await self._take_in(await self.channel.receive())
                except (Unavailable, RemoteError) as error:
                    problem = error
                nursery.cancel_scope.cancel()
        finally:
            self.ended.set()
            with trio.CancelScope(shield=True):
                await self._stream.reset()
        raise problem

    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            async for message in self._outgoing:
                more = [message]
                while len(more) < CHUNKS_PER_BATCH_MAX:
                    try:
                        more.append(self._outgoing.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                await self.channel.send(*more)
        except Unavailable:
            scope.cancel()
        finally:
            self._drained.set()

    async def _take_in(self, message: Message) -> None:
        if not isinstance(message, Results):
            self._receive(message)
            return
        with trio.move_on_after(RESULTS_WAIT_S_MAX) as wait:
            await self._pace.acquire()  # This takes a pass at the least.
        try:
            self._receive(message)
        finally:
            if not wait.cancelled_caught:
                self._pace.release()

    def _receive(self, message: Message) -> None:
        match message:
            case Bid():
                self._owner.on_bid(self, message)
            case Refusal():
                self._owner.on_refusal(self, message)
            case Ready(lease=lease) if lease == self.lease and self._terms is None:
                self._terms = CommitmentTerms(self._job, lease, self._manifest, message.environment)
                self._owner.on_ready(self, message)
            case PayloadPart(size_bytes=size) if size > CHUNK_RESULT_BYTES_MAX:
                raise BadFrame(f"{self.peer} begins a result of {size} bytes; {CHUNK_RESULT_BYTES_MAX} is the most")
            case PayloadPart() if self._terms is not None or self.hand_over.is_awaited:
                self._collector.feed(message)
            case Kept():
                self.hand_over.on_kept(message)
            case Results(lease=lease) if lease == self.lease and self._terms is not None:
                self._receive_results(message, self._terms)
            case Results(lease=lease) if lease != self.lease:
                self.hand_over.on_results(message, self._collector)
            case Heartbeat(lease=lease) if lease == self.lease:
                self._owner.on_heard(self, message.running)
            case Leaving(lease=lease) if lease == self.lease:
                raise Unavailable(f"{message.reason or 'it is leaving'}")
            case _:
                raise BadFrame(f"{self.peer} sent {type(message).__name__} out of turn")

    def _receive_results(self, message: Results, terms: CommitmentTerms) -> None:
        if message.results:
            batch = self._check_commitment(message, terms)
            for result in message.results:
                self._owner.on_result(self, self._checked(result, batch))
        for failure in message.failures:
            self._receive_failure(failure)

    def _check_commitment(self, message: Results, terms: CommitmentTerms) -> SignedBatch:
        if message.commitment is None:
            raise BadFrame(f"results of {self.peer} without a commitment")
        committed = [Committed(one.chunk, self._given(one.chunk).input, one.digest) for one in message.results]
        batch = check_commitment(message.commitment, terms, self._sequence, committed, self.peer)
        self._sequence += 1
        return batch

    def _checked(self, result: ChunkResult, batch: SignedBatch) -> CheckedResult:
        given = self._take(result.chunk)
        piece = given.piece
        data = self._collector.open(result.digest, result.data)
        if len(data) != result.size_bytes or len(data) > CHUNK_RESULT_BYTES_MAX:
            raise BadFrame(f"the result of chunk {result.chunk} by {self.peer} is not of the size it says")
        files = files_of(data, decode_outcomes(data, piece.stop - piece.start))
        environment = self._terms.environment if self._terms else b""
        compute_s = believable_s(result.compute_s, trio.current_time() - given.at)
        return CheckedResult(piece, data, compute_s, result.log, batch, result.chunk, files, environment)

    def _receive_failure(self, failure: ChunkFailure) -> None:
        piece = self._take(failure.chunk).piece
        self._owner.on_failure(self, piece, Failure(failure.kind, failure.item, failure.detail), failure.log)

    # What it hands over (HandOverOwner).

    def on_kept(self, kept: KeptChunk, place: tuple[int, int]) -> None:
        """To the owner."""
        self._owner.on_kept(self, kept, place)

    def on_handed_over(self, result: CheckedResult) -> None:
        """To the owner, as any result."""
        self._owner.on_result(self, result)

    def on_not_handed_over(self, piece: Piece, failure: ChunkFailure) -> None:
        """To the owner, as any failure."""
        self._owner.on_failure(self, piece, Failure(failure.kind, failure.item, failure.detail), failure.log)

    def _take(self, chunk: ChunkId) -> _Given:
        given = self._given(chunk)
        del (self._assigned if chunk in self._assigned else self._cancelled)[chunk]
        return given

    def _given(self, chunk: ChunkId) -> _Given:
        given = self._assigned.get(chunk) or self._cancelled.get(chunk)
        if given is None:
            raise BadFrame(f"{self.peer} answers for chunk {chunk}, which it was not given")
        return given
