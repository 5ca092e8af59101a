"""Inside the sandbox: the job file as a module, and its function."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from peer.execution.runner_job import MODULE_NAME, load_function


def load(job: dict[str, Any]) -> Callable[[object], object]:
    """The function that the job names; raises whatever the job file raises."""
    module = sys.modules[MODULE_NAME] = ModuleType(MODULE_NAME)
    return load_function(module, job["filename"], job["code"], job["entry"])
