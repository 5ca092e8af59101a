"""Whom the worker lets in: paired peers always, strangers as the owner says; the list of who asked is bounded."""

import pytest

from peer.accept import Accept
from peer.door import ACCEPTED_NAME, ASKED_PEERS_MAX, Door
from protocol.errors import LocalError
from protocol.ids import PeerId
from protocol.messages.job import RefusalReason
from protocol.signing import Identity

FRIEND, STRANGER, OTHER = (Identity(bytes([n]) * 32).peer_id for n in (1, 2, 3))


def door(accept: Accept, folder=None) -> Door:
    return Door(accept, lambda peer: peer == FRIEND, lambda: 1000.0, folder)


def reason(problem) -> RefusalReason | None:
    return problem and problem[0]


def test_paired_peers_alone():
    paired = door(Accept.PAIRED)
    assert paired.leave(FRIEND) is None
    assert reason(paired.leave(STRANGER)) is RefusalReason.NOT_ACCEPTED
    assert paired.asked() == []
    assert door(Accept.ANYONE).leave(STRANGER) is None
    with pytest.raises(LocalError, match="--accept paired"):
        paired.accept(STRANGER)


def test_who_asks_waits_until_it_is_let_in_and_stays_let_in(tmp_path):
    ask = door(Accept.ASK, tmp_path)
    assert ask.leave(FRIEND) is None
    assert reason(ask.leave(STRANGER)) is RefusalReason.ASKED
    ask.leave(OTHER)
    ask.leave(STRANGER)
    assert [(one.peer, one.calls) for one in ask.asked()] == [(STRANGER, 2), (OTHER, 1)], "who asked last comes first"
    with pytest.raises(LocalError, match="`peer requests` shows"):
        ask.accept("nobody")
    with pytest.raises(LocalError, match="give more of the id"):
        ask.accept("12D3")
    assert ask.accept(STRANGER[-8:]) == STRANGER
    assert ask.leave(STRANGER) is None
    assert [one.peer for one in ask.asked()] == [OTHER]
    assert door(Accept.ASK, tmp_path).leave(STRANGER) is None, "also after a restart"


def test_the_list_is_bounded_and_forgets_who_asked_longest_ago():
    ask = door(Accept.ASK)
    peers = [PeerId(f"peer{n}") for n in range(ASKED_PEERS_MAX + 1)]
    for peer in peers:
        ask.leave(peer)
    assert [one.peer for one in ask.asked()] == peers[:0:-1]


def test_a_damaged_list_lets_nobody_in_by_guess(tmp_path):
    (tmp_path / ACCEPTED_NAME).write_text("{")
    with pytest.raises(LocalError, match="mend it, or remove it"):
        door(Accept.ASK, tmp_path)
