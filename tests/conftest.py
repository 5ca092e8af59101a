"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Signals work as in a terminal, for processes that tests start too, whatever `nohup` or a script's `&` has set."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)
