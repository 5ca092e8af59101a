"""An executor around another one: the base of those that change how chunks run and nothing else."""

from collections.abc import Sequence

from peer.seam import Executor
from protocol.capability import RuntimeOffer


class ExecutorAround:
    """Offers what the executor inside does; subclasses add `open_runner`."""

    def __init__(self, inside: Executor) -> None:
        self._inside = inside

    def offers(self) -> Sequence[RuntimeOffer]:
        """Those of the executor inside."""
        return self._inside.offers()

    def environment(self, runtime: str) -> bytes:
        """That of the executor inside."""
        return self._inside.environment(runtime)
