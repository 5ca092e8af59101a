"""What a DHT service did, for benchmarks and the dashboard."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.errors import RemoteError
from protocol.ids import PeerId
from protocol.messages.dht import DhtMessage

OnRemoteError = Callable[[PeerId, RemoteError], None]


def type_of(message: DhtMessage) -> str:
    """The name of a message's type on the wire."""
    return str(message.__struct_config__.tag)


@dataclass(slots=True)
class DhtCounters:
    """Messages by type, errors by type; all only ever grow."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    remote_errors: Counter[str] = field(default_factory=Counter)
    unavailable: int = 0
    lookups: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    @property
    def requests_sent(self) -> int:
        """Requests of all types."""
        return sum(self.sent[name] for name in ("ping", "find_node", "store", "find_records"))
