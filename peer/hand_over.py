"""What one worker hands over of an earlier run of the job, on one stream: offers in, requests out, checked results on.

What it says it has must bear this coordinator's mark, and what it sends must be what was asked for and what it has
committed to. Anything else is refused: it need not keep that any longer, or is a `RemoteError` where it is a breach.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from peer.hand_outs import HandOuts
from protocol.commitments import CommitmentTerms, Committed, SignedBatch, check_commitment
from protocol.errors import BadFrame
from protocol.files import FileRef
from protocol.ids import ChunkId, JobId, LeaseId, PeerId
from protocol.job_events import Piece
from protocol.limits import CHUNK_RESULT_BYTES_MAX, KEPT_RESULTS_PER_COORDINATOR_MAX
from protocol.messages import Message
from protocol.messages.job import ChunkFailure, ChunkResult, Results
from protocol.messages.kept import FetchKept, ForgetKept, Kept, KeptChunk
from protocol.outcomes import decode_outcomes, files_of
from protocol.payloads import PayloadCollector

OFFERS_MAX = 2 * KEPT_RESULTS_PER_COORDINATOR_MAX
"""On one stream: each kept result once, and what is finished meanwhile."""


@dataclass(frozen=True, slots=True)
class CheckedResult:
    """A result whose commitment, digest and form are right; whether it is true is another matter."""

    piece: Piece
    data: bytes
    compute_s: float
    log: bytes
    batch: SignedBatch
    """The commitment that it came with."""
    signed_as: ChunkId
    """The chunk's number in that."""
    files: tuple[FileRef, ...] = ()
    """Those that it names."""
    environment: bytes = b""
    """Of the worker, as it says."""
    kept: bool = False
    """Whether it was handed over, from an earlier run of the job."""


class HandOverOwner(Protocol):
    """Who is told. Calls are synchronous and must not block."""

    def on_kept(self, kept: KeptChunk, place: tuple[int, int]) -> None:
        """It has something that was given to it for these places of the run; `want` or `refuse` follows."""

    def on_handed_over(self, result: CheckedResult) -> None:
        """A checked result."""

    def on_not_handed_over(self, piece: Piece, failure: ChunkFailure) -> None:
        """It will not come."""


_Key = tuple[LeaseId, ChunkId]
"""Of an earlier run."""


class HandOver:
    """One per stream. `send` queues a message; it may raise `Unavailable`."""

    def __init__(
        self,
        peer: PeerId,
        job: JobId,
        manifest: bytes,
        outs: HandOuts,
        owner: HandOverOwner,
        send: Callable[[Message], None],
    ) -> None:
        self.handed_over = 0
        """Results so far."""
        self._peer = peer
        self._job = job
        self._manifest = manifest
        self._outs = outs
        self._owner = owner
        self._send = send
        self._count = 0
        self._offers: dict[tuple[int, int], KeptChunk] = {}
        self._pieces: dict[_Key, Piece] = {}
        """What is of use, as the chunk that it is in this run."""
        self._asked: dict[_Key, tuple[KeptChunk, Piece]] = {}
        self._progress = trio.Event()

    @property
    def is_awaited(self) -> bool:
        """Whether results were asked for that are not here yet."""
        return bool(self._asked)

    async def wait_idle(self) -> None:
        """Until all that was asked for is here; the caller owns the time-out."""
        while self._asked:
            self._progress = trio.Event()
            await self._progress.wait()

    # What the worker says.

    def on_kept(self, message: Kept) -> None:
        """Raises `BadFrame` for more than a worker may keep."""
        self._count += len(message.chunks)
        if self._count > OFFERS_MAX:
            raise BadFrame(f"{self._peer} says that it keeps more than {OFFERS_MAX} results")
        for kept in message.chunks:
            if (place := self._outs.place_of(self._peer, kept)) is None:
                self._forget((kept.lease, kept.chunk))
            else:
                self._offers[place] = kept
                self._owner.on_kept(kept, place)

    def on_results(self, message: Results, collector: PayloadCollector) -> None:
        """Results that were asked for, or why they do not come. Raises `RemoteError` for what breaks the rules."""
        for result in message.results:
            asked = self._asked.pop((message.lease, result.chunk), None)
            if asked is None:
                raise BadFrame(f"{self._peer} hands over a result that it was not asked for")
            checked = self._checked(message, result, *asked, collector)
            self.handed_over += 1
            self._owner.on_handed_over(checked)
        for failure in message.failures:
            self._asked.pop((message.lease, failure.chunk), None)
            if (piece := self._pieces.pop((message.lease, failure.chunk), None)) is not None:
                self._owner.on_not_handed_over(piece, failure)
        self._progress.set()

    def _checked(
        self, message: Results, result: ChunkResult, kept: KeptChunk, piece: Piece, collector: PayloadCollector
    ) -> CheckedResult:
        if message.commitment is None or len(message.results) > 1:
            raise BadFrame(f"{self._peer} hands over results without a commitment to each alone")
        terms = CommitmentTerms(self._job, kept.lease, self._manifest, kept.environment)
        committed = Committed(result.chunk, kept.input, result.digest)
        batch = check_commitment(message.commitment, terms, None, [committed], self._peer)
        data = collector.open(result.digest, result.data)
        if not len(data) == result.size_bytes == kept.size_bytes <= CHUNK_RESULT_BYTES_MAX:
            raise BadFrame(f"what {self._peer} hands over is not of the size it said")
        files = files_of(data, decode_outcomes(data, kept.handed_out.count))
        compute_s = self._outs.believable_s(kept.handed_out, result.compute_s)
        return CheckedResult(
            piece, data, compute_s, result.log, batch, result.chunk, files, kept.environment, kept=True
        )

    # What the job says.

    def want(self, piece: Piece) -> None:
        """What was offered for this piece is of use."""
        kept = self._offers[piece.start, piece.stop]
        key = kept.lease, kept.chunk
        self._pieces[key] = piece
        if not kept.running and key not in self._asked:
            self._asked[key] = kept, piece
            self._send(FetchKept(lease=kept.lease, chunks=(kept.chunk,)))

    def refuse(self, place: tuple[int, int]) -> None:
        """What was offered for this place is of no use."""
        if (kept := self._offers.pop(place, None)) is not None:
            self._forget((kept.lease, kept.chunk))

    def settled(self, chunk: ChunkId) -> None:
        """A result of the chunk is in the books: nothing need be kept of it, nor run on."""
        for key in [key for key, piece in self._pieces.items() if piece.chunk == chunk]:
            del self._pieces[key]
            self._forget(key)

    def call_off(self, chunk: ChunkId) -> bool:
        """It need not go on with the chunk; whether this is one that it has run since the earlier run."""
        for key, piece in list(self._pieces.items()):
            offer = self._offers.get((piece.start, piece.stop))
            if piece.chunk == chunk and offer is not None and offer.running:
                del self._pieces[key]
                self._forget(key)
                return True
        return False

    def _forget(self, key: _Key) -> None:
        lease, chunk = key
        self._send(ForgetKept(lease=lease, chunks=(chunk,)))
