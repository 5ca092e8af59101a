"""The python runtime: a function of a job file, called with one item after another."""

import platform
from functools import cached_property

from peer.execution.environment import python_environment
from peer.execution.interpreter import Inside, python_inside
from peer.runtimes.base import Probe
from protocol.bodies import Manifest

PYTHON_RUNTIME = "python"


class PythonRuntime:
    """The Python that runs this peer, with its packages."""

    name = PYTHON_RUNTIME
    compare = "exact"
    in_place = True

    def probe(self) -> Probe:
        """See `Runtime.probe`: it is always here."""
        return Probe(versions={PYTHON_RUNTIME: platform.python_version()})

    def environment(self, runtime: str) -> bytes:
        """See `Runtime.environment`."""
        return self._environment

    def inside(self, manifest: Manifest) -> Inside:
        """See `Runtime.inside`."""
        return self._inside

    @cached_property
    def _inside(self) -> Inside:
        return python_inside()

    @cached_property
    def _environment(self) -> bytes:
        return python_environment(self._inside.interpreter.package_folders)
