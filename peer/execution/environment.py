"""What a result may depend on besides code and input: the digest by which workers are comparable.

Replicas of numerical code agree to the bit only where package versions, instruction set and number of
threads are the same; so these are what goes in.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from protocol import encoding
from protocol.ids import digest

_X86_64_V2 = {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}
_X86_64_V3 = _X86_64_V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_X86_64_V4 = _X86_64_V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
_THREADS_PER_RUNNER = 1


@lru_cache(maxsize=8)
def python_environment(package_folders: tuple[Path, ...]) -> bytes:
    """Digest of interpreter, platform, instruction-set class, threads, and the packages in these folders."""
    packages = importlib.metadata.distributions(path=[str(folder) for folder in package_folders])
    versions = sorted({f"{package.name.lower()}=={package.version}" for package in packages if package.name})
    return machine_environment(
        {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
            "packages": versions,
        }
    )


def machine_environment(described: Mapping[str, object]) -> bytes:
    """Digest of a description, and of what of this machine any result may depend on."""
    machine = {
        "system": platform.system(),
        "instructions": instruction_set(platform.machine(), _processor_flags()),
        "threads": _THREADS_PER_RUNNER,
    }
    return digest(encoding.encode({**machine, **described}))


def instruction_set(machine: str, flags: set[str]) -> str:
    """The class of processors whose arithmetic libraries take the same path (x86-64 psABI levels)."""
    if machine != "x86_64":
        return f"{machine}+sve" if "sve" in flags else machine
    for name, wanted in (("v4", _X86_64_V4), ("v3", _X86_64_V3), ("v2", _X86_64_V2)):
        if wanted <= flags:
            return f"x86-64-{name}"
    return "x86-64"


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    found = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return set(next(found, "").split())
