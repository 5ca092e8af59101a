"""Policies as pure functions of votes, and the words they are written in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.adaptive import parse_policy
from protocol.chunk import Vote
from protocol.errors import LocalError
from protocol.ids import PeerId, digest
from protocol.verification import (
    AcceptTrusted,
    AcceptVoted,
    Audit,
    Disputed,
    NeedAudit,
    NeedMore,
    NoVerification,
    Quorum,
    WorkerRecord,
    majority,
)

RIGHT, WRONG = digest(b"right"), digest(b"wrong")


def vote(worker: str, key: bytes = RIGHT, drawn: bool = False) -> Vote:
    return Vote(PeerId(worker), key, 1.0, audit_drawn=drawn)


def test_a_quorum_waits_accepts_and_disputes() -> None:
    policy = Quorum(2)
    assert policy.judge([]) == NeedMore(2)
    assert policy.judge([vote("a")]) == NeedMore(1)
    assert policy.judge([vote("a"), vote("b")]) == AcceptVoted(RIGHT)
    assert policy.judge([vote("a"), vote("b", WRONG)]) == Disputed()
    assert policy.judge([vote("a"), vote("b"), vote("c", WRONG)]) == Disputed()


def test_an_audit_is_asked_for_only_when_drawn() -> None:
    policy = Audit(0.1)
    assert policy.judge([vote("a")]) == AcceptTrusted(RIGHT)
    assert policy.judge([vote("a", drawn=True)]) == NeedAudit()
    assert policy.judge([vote("a"), vote("b", WRONG)]) == Disputed()
    assert policy.probability(WorkerRecord(clean=1000)) == 0.1


def test_none_takes_the_first_result() -> None:
    assert NoVerification().judge([]) == NeedMore(1)
    assert NoVerification().judge([vote("a", WRONG)]) == AcceptTrusted(WRONG)


@given(right=st.integers(0, 9), wrong=st.integers(0, 9), quorum=st.integers(2, 5))
def test_a_majority_is_more_than_half_and_a_quorum(right: int, wrong: int, quorum: int) -> None:
    votes = [vote(f"r{n}") for n in range(right)] + [vote(f"w{n}", WRONG) for n in range(wrong)]
    key = majority(votes, quorum)
    if key is None:
        assert max(right, wrong) < quorum or right == wrong
    else:
        more, fewer = (right, wrong) if key == RIGHT else (wrong, right)
        assert more > fewer and more >= quorum


@pytest.mark.parametrize("text", ["none", "quorum:2", "quorum:16", "audit:0.1", "audit:1"])
def test_policies_read_as_they_are_written(text: str) -> None:
    assert parse_policy(text).name == text


@pytest.mark.parametrize(
    "text", ["", "quorum", "quorum:1", "quorum:17", "quorum:x", "audit:0", "audit:1.1", "audit:nan", "none:1", "trust"]
)
def test_other_words_are_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(LocalError, match="use adaptive, none, quorum:N"):
        parse_policy(text)
