"""How much memory this process has taken; nothing within a run sees it."""

import resource


def memory_kib() -> float:
    """The most that this process has ever held, in KiB."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
