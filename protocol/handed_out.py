"""The coordinator's mark on what it hands out, so that it knows a chunk again after it was killed.

A MAC under a key that its identity gives, over everything that matters: which worker, in which lease, which items,
which input, when. So nothing need be written at a hand-out, and no worker can hand over a result of a chunk
that it was not given: who could choose its chunks could choose the same as its accomplice, and outvote nobody.
"""

import hmac
from hashlib import sha256
from struct import Struct

from protocol.ids import JobId, LeaseId, PeerId
from protocol.messages.kept import HandedOut

_NUMBERS = Struct(">QQQd")
_DOMAIN = b"parallel-peer/handed out/1\0"


class Stamp:
    """Of one job. `seed` is the coordinator's secret, which the mark does not show."""

    def __init__(self, seed: bytes, job: JobId) -> None:
        self._key = sha256(_DOMAIN + seed).digest()
        self._job = job

    def mark(
        self, worker: PeerId, lease: LeaseId, items: tuple[int, int, int], input: bytes, at_unix_s: float
    ) -> HandedOut:
        """The chunk of `items` (first, last, how many) is given to the worker; `input` is the digest of its payload."""
        first, last, count = items
        mark = self._mac(worker, lease, _NUMBERS.pack(first, last, count, at_unix_s), input)
        return HandedOut(first=first, last=last, count=count, at_unix_s=at_unix_s, mark=mark)

    def holds(self, worker: PeerId, lease: LeaseId, handed_out: HandedOut, input: bytes) -> bool:
        """Whether exactly this was given to this worker in this lease."""
        one = handed_out
        mac = self._mac(worker, lease, _NUMBERS.pack(one.first, one.last, one.count, one.at_unix_s), input)
        return hmac.compare_digest(mac, one.mark)

    def _mac(self, worker: PeerId, lease: LeaseId, numbers: bytes, input: bytes) -> bytes:
        """All but the lease is ours, or of one length: what is put together can be read in one way alone."""
        return hmac.digest(self._key, f"{self._job}/{worker}/{lease}/".encode() + numbers + input, "sha256")
