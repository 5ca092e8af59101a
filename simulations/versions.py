"""What a run depends on besides its scenario and its seed."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("parallel-peer", "trio", "cbor2", "cryptography", "msgspec")


def versions() -> dict[str, str]:
    """Python, the system, and the packages whose behaviour is in the trace."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
