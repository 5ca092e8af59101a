"""What may happen in which state of a worker's session, and what it leads to: the one table.

A session is OPEN until a call gets a bid (BIDDING) and that an award (LEASED); it goes back to OPEN when
the bid is lost or lapses and when the lease ends. ABANDONED has no stream any more, but chunks that run. ENDING
waits for the stream to be gone; ABSENT is before the first event and after the last.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from protocol.messages.job import (
    Assign,
    Award,
    Call,
    CancelChunks,
    Heartbeat,
    Outbid,
    PayloadPart,
    Receipts,
    Release,
)
from protocol.messages.kept import FetchKept, ForgetKept
from protocol.worker_events import (
    ChunkFailed,
    ChunkRan,
    ChunkStopped,
    RunnerFailed,
    RunnerReady,
    Sent,
    SessionEnded,
    SessionOpened,
    StreamGone,
)


class SessionState(StrEnum):
    """Where a session stands."""

    ABSENT = "absent"
    OPEN = "open"
    BIDDING = "bidding"
    LEASED = "leased"
    ABANDONED = "abandoned"
    ENDING = "ending"


class Action(StrEnum):
    """What the machine does about an event."""

    OPEN = "open the session"
    END = "forget the session, end its lease"
    ANSWER_CALL = "bid or refuse"
    FREE_BID = "free the bid's slots"
    ANSWER_AWARD = "begin the lease or refuse"
    COLLECT = "collect a part of a payload"
    ASSIGN = "queue chunks"
    CANCEL = "drop and stop chunks"
    LIVE = "note a sign of life"
    RELEASE = "end the lease"
    RECEIPT = "check and count a receipt"
    SLOT = "move a slot"
    SENT = "note that results were written"
    HAND_OVER = "hand over what is kept"
    FORGET = "keep it no longer"
    ABANDON = "keep what the lease has"
    IGNORE = "nothing: it comes late"


_S, _A = SessionState, Action
_LIVE = (_S.OPEN, _S.BIDDING, _S.LEASED)
_FROM_COORDINATOR: Mapping[type, Action] = {
    Call: _A.ANSWER_CALL,
    Outbid: _A.FREE_BID,
    Award: _A.ANSWER_AWARD,
    # These may name a lease that has just ended on our side: then they change nothing.
    PayloadPart: _A.COLLECT,
    Assign: _A.ASSIGN,
    CancelChunks: _A.CANCEL,
    Heartbeat: _A.LIVE,
    Release: _A.RELEASE,
    Receipts: _A.RECEIPT,
    FetchKept: _A.HAND_OVER,
    ForgetKept: _A.FORGET,
}
_SLOT_EVENTS = (RunnerReady, RunnerFailed, ChunkRan, ChunkFailed, ChunkStopped)
_FROM_DRIVER: Mapping[type, Action] = {**dict.fromkeys(_SLOT_EVENTS, _A.SLOT), Sent: _A.SENT}

TRANSITIONS: Mapping[tuple[SessionState, type], Action] = MappingProxyType(
    {
        (_S.ABSENT, SessionOpened): _A.OPEN,
        **{(state, SessionEnded): _A.END for state in (*_LIVE, _S.ABANDONED, _S.ENDING)},
        (_S.LEASED, StreamGone): _A.ABANDON,
        **{(state, StreamGone): _A.IGNORE for state in (_S.OPEN, _S.BIDDING, _S.ABANDONED, _S.ENDING)},
        **{(state, kind): action for state in _LIVE for kind, action in _FROM_COORDINATOR.items()},
        **{(state, kind): action for state in _LIVE for kind, action in _FROM_DRIVER.items()},
        **{(_S.ABANDONED, kind): _A.IGNORE for kind in (*_FROM_COORDINATOR, Sent)},
        **{(_S.ABANDONED, kind): _A.SLOT for kind in _SLOT_EVENTS},
        **{(_S.ENDING, kind): _A.IGNORE for kind in (*_FROM_COORDINATOR, *_FROM_DRIVER)},
        **{(_S.ABSENT, kind): _A.IGNORE for kind in _FROM_DRIVER},
    }
)
