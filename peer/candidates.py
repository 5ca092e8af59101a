"""Results of one job that may come to count, and by which key each is known to the job's rules.

Where agreement is an equivalence (`exact`, `canonical`, `verify`) a key says it all. Where it is not (`tolerance`,
`image`), a worker's result takes the key of the first that it agrees with. What agrees with an execution of our own
is found by holding each result against it, not by keys: else a liar within the tolerance of one honest worker but not
of us would take that worker down with it. So all results of such a job are kept until it is over, in a file.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from protocol.comparators import CALIBRATION_PAIRS, NO_LOOK, Comparator, Look
from protocol.errors import LocalError
from protocol.ids import ChunkId, PeerId, digest
from protocol.job_events import Agreement
from protocol.limits import MIB

SPOOL_BYTES_IN_MEMORY_MAX = 32 * MIB
SPOOL_BYTES_MAX = 16 * 1024 * MIB


@dataclass(slots=True)
class Candidate:
    """One result. `worker` is None for an execution of our own."""

    worker: PeerId | None
    key: bytes
    data: "bytes | _Place"
    compute_s: float
    environment: bytes = b""
    view: "bytes | _Place" = b""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the file a result is."""

    offset: int
    size: int


class Candidates:
    """Closed at the end of the job. `folder` is where the file goes when it grows; None: where such files go."""

    def __init__(self, comparator: Comparator, folder: Path | None = None) -> None:
        self.comparator = comparator
        self.pairs = 0
        """Pairs of results of different executions that agreed, where they are held against one another."""
        self.difference = 0.0
        """The largest among them."""
        self._calibrated = ""
        self._chunks: dict[ChunkId, list[Candidate]] = {}
        self._folder = folder
        self._file: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._spooled_bytes = 0

    def add(
        self,
        chunk: ChunkId,
        worker: PeerId,
        data: bytes,
        compute_s: float,
        *,
        refused: bool = False,
        look: Look = NO_LOOK,
    ) -> bytes:
        """A worker's result; returns its key, which is that of an earlier result if it agrees with it.

        One that the job's own check refuses agrees with no other.
        """
        if refused:
            key = digest(b"refused" + worker.encode() + digest(data))
        else:
            key = self._key(chunk, data, look, with_workers=True)
        self._keep(chunk, Candidate(worker, key, data, compute_s, look.environment, look.view))
        return key

    def add_own(
        self, chunk: ChunkId, data: bytes, compute_s: float, *, look: Look = NO_LOOK
    ) -> tuple[bytes, Agreement | None]:
        """An execution of our own: its key, and where keys do not say it, what agrees with it."""
        key = self._key(chunk, data, look, with_workers=False)
        agreement = self._agreement(chunk, key, data, look) if self.comparator.is_pairwise else None
        self._keep(chunk, Candidate(None, key, data, compute_s, look.environment, look.view))
        return key, agreement

    def get(self, chunk: ChunkId, key: bytes) -> tuple[Candidate, bytes]:
        """The first result with this key, and its bytes. There must be one."""
        found = next(one for one in self._chunks[chunk] if one.key == key)
        return found, self._read(found)

    def given_by(self, chunk: ChunkId, worker: PeerId) -> bytes:
        """What this worker gave, if it is still kept; else nothing."""
        found = next((one for one in self._chunks.get(chunk, ()) if one.worker == worker), None)
        return self._read(found) if found is not None else b""

    def settled(self, chunk: ChunkId) -> None:
        """A result of the chunk counts. Where keys do, the others are of no more use."""
        if not self.comparator.is_pairwise:
            self.drop(chunk)

    def drop(self, chunk: ChunkId) -> None:
        """None of them will count."""
        self._chunks.pop(chunk, None)

    def clear(self) -> None:
        """All chunks so far are over and done with."""
        if not self._chunks:
            return
        self._chunks.clear()
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
        self._spooled_bytes = 0

    def close(self) -> None:
        """The job has ended."""
        self._chunks.clear()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def in_words(self) -> str:
        """How far results that agreed were apart."""
        if not self.pairs:
            return ""
        largest = self.comparator.difference_in_words(self.difference)
        return f"{self._calibrated}largest difference in {self.pairs:,} pairs that agree: {largest}"

    # Comparing.

    def _key(self, chunk: ChunkId, data: bytes, look: Look, *, with_workers: bool) -> bytes:
        if self.comparator.is_pairwise:
            earlier = [one for one in self._chunks.get(chunk, ()) if with_workers or one.worker is None]
            seen = set[bytes]()
            for one in sorted(earlier, key=lambda one: one.worker is not None):
                if one.key not in seen and self._agree(one, data, look):
                    return one.key
                seen.add(one.key)
        return self.comparator.key(data)

    def _agreement(self, chunk: ChunkId, key: bytes, data: bytes, look: Look) -> Agreement:
        """Those who agree have the same key from now on."""
        theirs = [one for one in self._chunks.get(chunk, ()) if one.worker is not None]
        first_of = {one.key: one for one in reversed(theirs)}
        agreeing = [one for one in theirs if self._agree(one, data, look)]
        keys = frozenset(label for label, first in first_of.items() if first in agreeing)
        for one in agreeing:
            one.key = key
        return Agreement(frozenset(one.worker for one in agreeing if one.worker is not None), keys)

    def _agree(self, one: Candidate, data: bytes, look: Look) -> bool:
        earlier = Look(one.environment, self._at(one.view))
        difference = self.comparator.difference(self._read(one), data, earlier, look)
        if difference > self.comparator.limit:
            return False
        self.pairs += 1
        self.difference = max(self.difference, difference)
        if self.comparator.calibrates and self.pairs >= CALIBRATION_PAIRS:
            self.comparator = self.comparator.calibrated(self.difference)
            self._calibrated = f"calibrated from {self.pairs} pairs: rtol {self.comparator.limit:.2g}; "
        return True

    # Keeping.

    def _keep(self, chunk: ChunkId, candidate: Candidate) -> None:
        kept = self._chunks.setdefault(chunk, [])
        if self.comparator.is_pairwise:
            kept.append(replace(candidate, data=self._write(candidate.data), view=self._write(candidate.view)))
        elif all(one.key != candidate.key for one in kept):
            kept.append(candidate)

    @property
    def _spool(self) -> "tempfile.SpooledTemporaryFile[bytes]":
        """Made when it is needed: a job that never starts leaves none behind."""
        if self._file is None:
            folder = str(self._folder) if self._folder else None
            self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES_IN_MEMORY_MAX, dir=folder)  # noqa: SIM115 - `close`
        return self._file

    def _write(self, data: "bytes | _Place") -> _Place:
        assert isinstance(data, bytes)
        if self._spooled_bytes + len(data) > SPOOL_BYTES_MAX:
            raise LocalError(
                f"the results to compare take more than {SPOOL_BYTES_MAX // MIB} MiB: split the job, or use "
                "--compare canonical, which need not keep them"
            )
        place = _Place(self._spooled_bytes, len(data))
        try:
            self._spool.seek(place.offset)
            self._spool.write(data)
        except OSError as error:
            raise LocalError(f"results to compare cannot be kept: {error.strerror}; make room on the disk") from error
        self._spooled_bytes += len(data)
        return place

    def _read(self, one: Candidate) -> bytes:
        return self._at(one.data)

    def _at(self, kept: "bytes | _Place") -> bytes:
        if isinstance(kept, bytes):
            return kept
        self._spool.seek(kept.offset)
        return self._spool.read(kept.size)
