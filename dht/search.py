"""What one search for records has found so far: pure.

Every record is checked; the newest of each peer counts. A search ends early only when enough records
came from several holders: one alone could have answered with its friends.
"""

from collections.abc import Sequence
from contextlib import suppress
from statistics import median_high

from dht.record_set import Held
from dht.record_store import LateRecord, open_record
from protocol.errors import BadRecord
from protocol.ids import PeerId
from protocol.signing import Envelope

HOLDERS_PER_SEARCH_MIN = 3


def agreed_estimate(estimates: Sequence[int]) -> int:
    """The middle of what holders say the total is, so that no single one decides; those who say 0 are left out."""
    said = [estimate for estimate in estimates if estimate > 0]
    return median_high(said) if said else 0


class RecordSearch:
    """Collects the answers of holders of one key."""

    def __init__(self, key: bytes, wanted: int) -> None:
        self._key = key
        self._wanted = wanted
        self._records: dict[PeerId, Held] = {}
        self._estimates: list[int] = []
        self._holders = 0

    def add(self, envelopes: Sequence[Envelope], total_estimate: int, now_unix_s: float) -> None:
        """One holder's answer. Raises a `RemoteError` when it holds a record that it should have refused."""
        for envelope in envelopes:
            self._add_record(envelope, now_unix_s)
        self._estimates.append(total_estimate)
        self._holders += bool(envelopes)

    def add_held(self, envelopes: Sequence[Envelope], total_estimate: int, now_unix_s: float) -> None:
        """What this peer holds itself. What its clock, which may have been stepped since, finds wrong is left out."""
        for envelope in envelopes:
            with suppress(BadRecord):
                self._add_record(envelope, now_unix_s)
        self._estimates.append(total_estimate)
        self._holders += bool(envelopes)

    def is_enough(self) -> bool:
        """Whether the search may end before its lookup does."""
        return self._holders >= HOLDERS_PER_SEARCH_MIN and len(self._records) >= self._wanted

    def records(self) -> list[Envelope]:
        """The newest record of each peer, by peer id."""
        return [self._records[peer].envelope for peer in sorted(self._records)]

    def total_estimate(self) -> int:
        """How many records there are under the key, as far as the holders agree."""
        return max(len(self._records), agreed_estimate(self._estimates))

    def _add_record(self, envelope: Envelope, now_unix_s: float) -> None:
        known = self._records.get(envelope.signer)
        if known is not None and known.envelope == envelope:
            return
        try:
            record = open_record(self._key, envelope, now_unix_s)
        except LateRecord:
            return
        if known is None or record.sequence > known.sequence:
            self._records[record.peer] = record
