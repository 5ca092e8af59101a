"""Random numbers inside the sandbox: the same for everyone who runs the same item of the same job.

Before each item, `random` and `numpy.random` (the ones that are loaded) are seeded from the SHA-256 of
the job's id and the item's canonical bytes; one that the function loads only then is seeded as it
loads. So honest replicas agree. Generators that ask the system for entropy (`secrets`, `os.urandom`,
`numpy.random.default_rng()` without a seed, `uuid4`) are not seeded: jobs that use them can only be
compared with a tolerance or by a check of their own.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    # Not loaded inside: it takes 8 ms, and it loads `random`, which only jobs that use it shall pay for.
    from importlib.abc import Loader, MetaPathFinder

_BITS = {"random": 256, "numpy.random": 32}


class Seeds:
    """Seeds the modules that are loaded; as a finder of modules, it notices those that get loaded."""

    def __init__(self, job: str) -> None:
        self._prefix = job.encode() + b"\0"
        self._seed = 0
        self._item_bytes: Callable[[], bytes] = bytes  # while the job file itself is being loaded there is no item
        self._modules = {name: sys.modules[name] for name in _BITS if name in sys.modules}
        sys.meta_path.insert(0, cast("MetaPathFinder", self))

    def start_item(self, item_bytes: Callable[[], bytes]) -> None:
        """Seed for an item. The bytes are asked for only where they are needed."""
        if len(self._modules) < len(_BITS):
            self._item_bytes = item_bytes
        if self._modules:
            self._draw(item_bytes())
            for name, module in self._modules.items():
                self._sow(name, module)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Nothing but a notice: a module that gives random numbers is seeded as soon as it is there."""
        if fullname not in _BITS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._seed_after(fullname, spec.loader)
        return spec

    def _seed_after(self, name: str, loader: "Loader") -> None:
        execute = loader.exec_module

        def execute_and_seed(module: ModuleType) -> None:
            execute(module)
            self._modules[name] = module
            self._draw(self._item_bytes())
            self._sow(name, module)

        loader.exec_module = execute_and_seed  # type: ignore[method-assign]

    def _draw(self, item: bytes) -> None:
        import hashlib

        self._seed = int.from_bytes(hashlib.sha256(self._prefix + item).digest(), "little")

    def _sow(self, name: str, module: ModuleType) -> None:
        module.seed(self._seed % (1 << _BITS[name]))
