"""The wasm runtime: a WASI module with standard input, files, and fuel, the same to the bit on every machine."""

import importlib.metadata
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from peer.execution.interpreter import Inside, Interpreter, loader, this_interpreter
from peer.runtimes.base import Probe
from protocol import encoding
from protocol.bodies import Manifest
from protocol.ids import digest

WASM_RUNTIME = "wasm"
WASMTIME_MAJOR = 50
"""Fuel is a part of results, and each major version may count it in its own way."""
WASMTIME_WANTED = f"=={WASMTIME_MAJOR}.*"
_FIX = f"install it with `pip install 'wasmtime{WASMTIME_WANTED}'` beside this program"
# As many threads as the job's runner is given processors: the compiler would start one for each of the machine.
_ENVIRONMENT = (("RAYON_NUM_THREADS", "1"), ("TOKIO_WORKER_THREADS", "1"))


class WasmRuntime:
    """The package `wasmtime`, where it is installed."""

    name = WASM_RUNTIME
    compare = "exact"

    def probe(self) -> Probe:
        """See `Runtime.probe`. The package is looked for and not loaded: that happens in the sandbox."""
        return self._probe

    def environment(self, runtime: str) -> bytes:
        """See `Runtime.environment`: the major version alone, since nothing of the machine is seen in a result."""
        return digest(encoding.encode({"wasmtime": WASMTIME_MAJOR}))

    def inside(self, manifest: Manifest) -> Inside:
        """See `Runtime.inside`."""
        return Inside(interpreter=self._interpreter, loader=loader("wasm"), environment=_ENVIRONMENT)

    @cached_property
    def _probe(self) -> Probe:
        found = find_spec("wasmtime")
        if found is None or found.origin is None:
            return Probe(problem="the package wasmtime is not installed", fix=_FIX)
        version = importlib.metadata.version("wasmtime")
        if version.partition(".")[0] != str(WASMTIME_MAJOR):
            return Probe(problem=f"wasmtime {version} counts fuel in its own way", fix=_FIX)
        if Path(found.origin).resolve().parent.parent not in self._interpreter.package_folders:
            return Probe(problem=f"the sandbox cannot see {found.origin}", fix=_FIX)
        return Probe(versions={WASM_RUNTIME: version})

    @cached_property
    def _interpreter(self) -> Interpreter:
        return this_interpreter()
