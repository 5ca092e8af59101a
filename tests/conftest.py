"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Ctrl-C works as in a terminal, also for the processes that tests start, where a script's `&` has it ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
