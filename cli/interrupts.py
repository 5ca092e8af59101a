"""SIGTERM and a closed terminal end a command as Ctrl-C does, so that what it has started is ended as well."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Within it, SIGTERM and SIGHUP raise `KeyboardInterrupt`, where Ctrl-C would.

    A signal that whoever started the command wants ignored (`nohup`, a script's `&`) stays ignored.
    """

    def interrupt(_number: int, frame: FrameType | None) -> None:
        # Trio's own handler waits where an exception would break its books; ours must not jump that queue.
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(on_ctrl_c):
            raise KeyboardInterrupt
        on_ctrl_c(signal.SIGINT, frame)

    wanted = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    with ExitStack() as stack:
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            stack.enter_context(_blocked_instead_of_ignored(signal.SIGINT))
        for number in wanted:
            stack.callback(signal.signal, number, signal.signal(number, interrupt))
        yield


@contextmanager
def _blocked_instead_of_ignored(number: signal.Signals) -> Iterator[None]:
    """Trio sets its handler only where Python's own stands, which is not so for a signal that is ignored."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_IGN)  # which also drops those that wait
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
