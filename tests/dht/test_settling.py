"""When a peer that has joined may stop looking for its neighbours."""

from dht.settling import LOOK_FIRST_S, LOOK_INTERVAL_S_MAX, Settling
from protocol.ids import PeerId

ANNE, BERT, CARL = PeerId("anne"), PeerId("bert"), PeerId("carl")


def test_one_look_is_enough_where_nothing_moves() -> None:
    settling = Settling()
    settling.joined([ANNE, BERT])
    assert settling.interval_s == LOOK_FIRST_S
    assert not settling.looked([ANNE, BERT], all_answered=True), "nothing has moved: there is nothing to tell"
    assert settling.is_settled and settling.interval_s == LOOK_INTERVAL_S_MAX


def test_looks_until_nobody_new_shows_up_and_then_says_so_once() -> None:
    settling = Settling()
    settling.joined([ANNE])
    assert not settling.looked([ANNE, BERT], all_answered=True)
    assert not settling.is_settled and LOOK_FIRST_S < settling.interval_s <= LOOK_INTERVAL_S_MAX
    assert not settling.looked([BERT, CARL], all_answered=True)
    assert settling.looked([CARL], all_answered=True), "who has left makes no difference"
    assert settling.is_settled


def test_silence_is_no_rest() -> None:
    settling = Settling()
    settling.joined([ANNE])
    assert not settling.looked([ANNE], all_answered=False) and not settling.is_settled
    assert not settling.looked([], all_answered=True) and not settling.is_settled, "we know nobody"


def test_who_was_cut_off_tells_that_it_is_back() -> None:
    settling = Settling()
    settling.joined([ANNE])
    settling.looked([ANNE], all_answered=True)
    settling.unsettle()
    assert not settling.is_settled and settling.interval_s == LOOK_INTERVAL_S_MAX
    assert settling.looked([ANNE], all_answered=True)


def test_a_few_newcomers_are_no_news_where_they_are_tolerated() -> None:
    settling = Settling()
    settling.joined([ANNE])
    assert not settling.looked([ANNE, BERT], all_answered=True, tolerated=1) and settling.is_settled
    settling.unsettle()
    settling.looked([CARL, PeerId("dora")], all_answered=True, tolerated=1)
    assert not settling.is_settled
