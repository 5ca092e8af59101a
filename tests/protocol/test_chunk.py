"""The chunk's own table and its story."""

import pytest

from protocol.chunk import STORY_LENGTH_MAX, Chunk, Trigger
from protocol.errors import IllegalTransition
from protocol.ids import ChunkId


def test_what_the_table_lacks_is_our_bug_and_tells_the_story() -> None:
    chunk = Chunk(ChunkId(7), 0, 1)
    chunk.fire(Trigger.ASSIGN, 1.0)
    chunk.fire(Trigger.START, 1.5)
    with pytest.raises(
        IllegalTransition,
        match=r"chunk 7 is running: revoke .* Story: 1\.000 assign -> leased; 1\.500 start -> running",
    ):
        chunk.fire(Trigger.REVOKE, 2.0)


def test_a_long_story_keeps_its_end() -> None:
    chunk = Chunk(ChunkId(7), 0, 1)
    for number in range(1000):
        chunk.fire(Trigger.ASSIGN, float(number))
        chunk.fire(Trigger.EMPTY, float(number))
    with pytest.raises(IllegalTransition, match=r"999\.000 empty -> pending; $") as caught:
        chunk.fire(Trigger.REVOKE, 1000.0)
    assert len(str(caught.value)) < STORY_LENGTH_MAX + 100
