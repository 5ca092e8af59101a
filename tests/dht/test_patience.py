"""After how long a contact stalls, by how long answers took."""

from dht.patience import STALL_S, STALL_S_MAX, Patience


def test_follows_slow_answers_up_and_quick_ones_down_again() -> None:
    patience = Patience()
    assert patience.stall_s == STALL_S
    patience.answered(0.05)
    assert patience.stall_s == STALL_S
    for _ in range(10):
        patience.answered(1.6)
    assert 1.6 < patience.stall_s < STALL_S_MAX
    for _ in range(40):
        patience.answered(0.05)
    assert patience.stall_s == STALL_S


def test_is_never_longer_than_a_request_may_take() -> None:
    patience = Patience()
    for _ in range(100):
        patience.answered(60.0)
    assert patience.stall_s == STALL_S_MAX
