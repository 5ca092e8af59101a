"""What one job keeps to prove a lie with: the commitments of its workers, by chunk."""

from collections import OrderedDict

from protocol.commitments import SignedBatch
from protocol.fraud_proof import FraudProof, make_proof
from protocol.ids import ChunkId, PeerId
from protocol.signing import Envelope

RESULTS_KEPT_MAX = 65_536
"""Results whose commitment is kept, about 300 bytes each; the oldest go first, and cannot be proved wrong then."""


class Evidence:
    """One per job."""

    def __init__(self, manifest: Envelope) -> None:
        self._manifest = manifest
        self._batches: OrderedDict[tuple[PeerId, ChunkId], tuple[SignedBatch, ChunkId]] = OrderedDict()

    def keep(self, peer: PeerId, chunk: ChunkId, batch: SignedBatch, signed_as: ChunkId) -> None:
        """The commitment to a result of this peer, in which the chunk may have the number of an earlier run."""
        self._batches[peer, chunk] = batch, signed_as
        if len(self._batches) > RESULTS_KEPT_MAX:
            self._batches.popitem(last=False)

    def against(self, peer: PeerId, chunk: ChunkId, payload: bytes, result: bytes = b"") -> FraudProof | None:
        """The proof that the peer signed this result of a chunk; None where its commitment is not kept any more."""
        batch, signed_as = self._batches.get((peer, chunk), (None, chunk))
        return make_proof(batch, signed_as, self._manifest, payload, result) if batch else None
