"""SIGTERM ends a command where Ctrl-C would: at once in plain code, and never inside of trio's own."""

import signal

import pytest
import trio

from cli.interrupts import terminated_like_interrupted


@pytest.fixture(autouse=True)
def ctrl_c_is_given_back():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_plain_code_is_interrupted_at_once(number):
    with pytest.raises(KeyboardInterrupt), terminated_like_interrupted():
        signal.raise_signal(number)
        raise AssertionError("it went on")


def test_without_ctrl_c_it_is_interrupted_as_well():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt), terminated_like_interrupted():
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with terminated_like_interrupted():
            signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_IGN
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("on_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_what_trio_protects_is_not_broken_into(on_ctrl_c):
    signal.signal(signal.SIGINT, on_ctrl_c)
    ended_well = []

    @trio.lowlevel.enable_ki_protection
    async def protected() -> None:
        signal.raise_signal(signal.SIGTERM)
        ended_well.append(True)

    async def main() -> None:
        await protected()
        await trio.sleep(60)

    with pytest.raises(KeyboardInterrupt), terminated_like_interrupted():
        trio.run(main)
    assert ended_well


def test_the_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with terminated_like_interrupted():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
