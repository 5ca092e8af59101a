"""What holds for all tests."""

import os
import signal

import pytest

PROCESSES_MAX = 4
"""Among which `./run test` divides the tests; each holds all modules, some of which start dozens of processes."""


def pytest_configure() -> None:
    """Signals work as in a terminal, for processes that tests start too, whatever `nohup` or a script's `&` has set."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes `-n auto` means: one for each core that we may use; 0 is none but this one.

    None is for tests named one by one, and for `-s`, whose output other processes would swallow. `--pdb` has its own.
    """
    if config.option.capture == "no" or any("::" in name for name in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, PROCESSES_MAX) if cores > 1 else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Beside one another, the longest begin first: else one process works at the last of them, and the others wait."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (item.get_closest_marker("first") is None, item.get_closest_marker("slow") is None))
