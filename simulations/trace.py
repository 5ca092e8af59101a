"""The story of a run, as one hash: every message and every decision, in order.

The hash covers all events; the events themselves are kept up to a bound, from the beginning on, since what
comes after the first difference of two runs says little.
"""

import hashlib
from collections.abc import Callable


class Trace:
    """Takes events. `now` gives virtual seconds."""

    def __init__(self, now: Callable[[], float], events_kept_max: int = 0) -> None:
        self.events = 0
        self._now = now
        self._kept_max = events_kept_max
        self._kept: list[str] = []
        self._hash = hashlib.sha256()

    def note(self, kind: str, *details: object, data: bytes = b"") -> None:
        """One event. `data` goes into the hash whole, and into the kept line as a short digest of it.

        Details are written with `str`: give what reads the same in every process.
        """
        line = f"{round(self._now() * 1e6)} {kind} {' '.join(map(str, details))}"
        self.events += 1
        self._hash.update(f"{len(line)} {len(data)} {line}".encode())
        self._hash.update(data)
        if len(self._kept) < self._kept_max:
            digest = f" {len(data)} bytes {hashlib.sha256(data).hexdigest()[:12]}" if data else ""
            self._kept.append(line + digest)

    def hexdigest(self) -> str:
        """SHA-256 over all events so far."""
        return self._hash.hexdigest()

    def kept(self) -> tuple[str, ...]:
        """The first events, one a line: microseconds of virtual time, what happened, and to whom."""
        return tuple(self._kept)
