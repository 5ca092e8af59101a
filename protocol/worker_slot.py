"""One slot of a lease: the life of its runner and of the chunk on it, as one table."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from protocol.errors import IllegalTransition
from protocol.ids import ChunkId

STORY_LENGTH_MAX = 24


class SlotState(StrEnum):
    """Where a slot stands; `BROKEN` is final."""

    PREPARING = "preparing"
    IDLE = "idle"
    RUNNING = "running"
    STOPPING = "stopping"
    BROKEN = "broken"


class SlotTrigger(StrEnum):
    """What moves a slot."""

    RUNNER_READY = "runner ready"
    RUNNER_FAILED = "runner failed"
    START = "start"
    STOP = "stop"
    END = "end"


_S, _T = SlotState, SlotTrigger
TRANSITIONS: Mapping[tuple[SlotState, SlotTrigger], SlotState] = MappingProxyType(
    {
        (_S.PREPARING, _T.RUNNER_READY): _S.IDLE,
        (_S.PREPARING, _T.RUNNER_FAILED): _S.BROKEN,
        (_S.IDLE, _T.START): _S.RUNNING,
        (_S.RUNNING, _T.STOP): _S.STOPPING,
        (_S.RUNNING, _T.END): _S.IDLE,
        (_S.STOPPING, _T.END): _S.IDLE,
    }
)


@dataclass(slots=True)
class Slot:
    """A slot and the chunk that it runs; a chunk that is being stopped is nobody's any more."""

    index: int
    state: SlotState = SlotState.PREPARING
    chunk: ChunkId | None = None
    _story: deque[str] = field(default_factory=lambda: deque(maxlen=STORY_LENGTH_MAX))

    def move(self, trigger: SlotTrigger, chunk: ChunkId | None = None) -> None:
        """Move along the table; `chunk` is what runs afterwards. Raises `IllegalTransition` with the story."""
        after = TRANSITIONS.get((self.state, trigger))
        if after is None:
            story = "; ".join(self._story)
            raise IllegalTransition(f"slot {self.index} is {self.state}: {trigger} is not allowed. Story: {story}")
        self._story.append(f"{trigger}: {self.state} -> {after}, chunk {chunk}")
        self.state = after
        self.chunk = chunk
