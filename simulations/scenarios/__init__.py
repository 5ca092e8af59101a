"""The shipped scenarios, one TOML file each."""

from importlib.resources import files
from pathlib import Path

from protocol.errors import LocalError
from simulations.scenario import Scenario, load, loads
from simulations.scenario_errors import near

_SUFFIX = ".toml"


def names() -> list[str]:
    """The shipped scenarios by name, sorted."""
    found = (one.name for one in files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def shipped(name: str) -> Scenario:
    """A shipped scenario; raises `LocalError` with the nearest name when there is none."""
    if name not in names():
        raise LocalError(f"{name}: no shipped scenario of this name; {near(name, names())}")
    return loads((files(__name__) / f"{name}{_SUFFIX}").read_text("utf-8"), name)


def find(name_or_path: str) -> Scenario:
    """A shipped scenario by its name, or one from a file by its path (anything that ends in `.toml`)."""
    return load(Path(name_or_path)) if name_or_path.endswith(_SUFFIX) else shipped(name_or_path)
