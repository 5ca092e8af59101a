"""Python with packages of the job's own, as a runtime of its own: peers that cannot install them do not offer it."""

import platform
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from peer.execution.interpreter import Inside
from peer.runtimes.base import Probe
from peer.runtimes.environments import Environments, find_uv
from peer.runtimes.python import PythonRuntime
from protocol.bodies import Manifest
from protocol.errors import LocalError

PYTHON_ENV_RUNTIME = "python-env"
_PACKAGES_AT = Path("/opt/packages/job")


class PythonEnvRuntime(PythonRuntime):
    """The Python that runs this peer; the job's packages come before those of the peer.

    Its environment is that of the other: the job's packages are in its manifest, which commitments bind as well.
    """

    name = PYTHON_ENV_RUNTIME
    in_place = False

    def __init__(self) -> None:
        self._environments: dict[Path, Environments] = {}

    def probe(self) -> Probe:
        """See `Runtime.probe`."""
        if self._uv is None:
            return Probe(problem="the program uv is not installed", fix="pip install uv, beside this program")
        return Probe(versions={PYTHON_ENV_RUNTIME: platform.python_version()})

    def inside(self, manifest: Manifest) -> Inside:
        """See `Runtime.inside`; only `prepared` has the packages."""
        raise LocalError("packages are installed first, which only a running peer does: start one with `peer start`")

    def prepared(self, manifest: Manifest, folder: Path) -> AbstractAsyncContextManager[Inside]:
        """See `Prepares.prepared`."""
        return self._prepared(manifest, folder)

    @asynccontextmanager
    async def _prepared(self, manifest: Manifest, folder: Path) -> AsyncIterator[Inside]:
        if self._uv is None:
            raise LocalError(self.probe().problem)
        if folder not in self._environments:
            self._environments[folder] = Environments(folder, self._uv)
        async with self._environments[folder].of(manifest.requirements) as packages:
            interpreter = self._inside.interpreter
            binds = (*interpreter.binds, (packages, _PACKAGES_AT))
            with_packages = replace(interpreter, binds=binds, packages=(str(_PACKAGES_AT), *interpreter.packages))
            yield replace(self._inside, interpreter=with_packages)

    @cached_property
    def _uv(self) -> Path | None:
        return find_uv()
