"""The packages of the optional extra `simulate`: asked for by name before long work, so that nobody waits in vain."""

from importlib.util import find_spec

from protocol.errors import LocalError

INSTALL = "pip install 'parallel-peer[simulate]'"
TABLES = ("tomli_w",)
REPORT = ("tomli_w", "jinja2", "matplotlib")
SWEEP = (*REPORT, "joblib")


def require(purpose: str, packages: tuple[str, ...]) -> None:
    """Raises `LocalError` with the way out when one of `packages` cannot be imported."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise LocalError(f"{purpose} needs {', '.join(missing)}; install what is missing with: {INSTALL}")


def installed(package: str) -> bool:
    """Whether this package can be imported."""
    return find_spec(package) is not None
