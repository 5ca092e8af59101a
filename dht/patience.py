"""After how long a contact counts as stalled: as other answers take, after the retransmission timer of TCP (RFC 6298).

A fixed time would let nobody join where all are slow, on a busy machine or a bad line: every contact would stall. Pure.
"""

from protocol.limits import REQUEST_TIMEOUT_S

STALL_S = 1.0
"""The least; answers usually take a fraction of it."""
STALL_S_MAX = REQUEST_TIMEOUT_S
"""However slow others are, or pretend to be."""
MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
DEVIATIONS = 4


class Patience:
    """What one peer has seen of the time that answers take."""

    __slots__ = ("_deviation_s", "_mean_s")

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._deviation_s = 0.0

    @property
    def stall_s(self) -> float:
        """See the module; between `STALL_S` and `STALL_S_MAX`."""
        return min(max(STALL_S, self._mean_s + DEVIATIONS * self._deviation_s), STALL_S_MAX)

    def answered(self, after_s: float) -> None:
        """An answer has come so long after its request."""
        self._deviation_s += DEVIATION_GAIN * (abs(after_s - self._mean_s) - self._deviation_s)
        self._mean_s += MEAN_GAIN * (after_s - self._mean_s)
