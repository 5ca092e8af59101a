"""The lock files fit pyproject.toml: whoever changes one runs `./run lock`."""

import re
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from source_tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "requirements-blender.lock": PROJECT["dependency-groups"]["blender"],
    "requirements-build.lock": PROJECT["dependency-groups"]["build"],
    "requirements.lock": [
        *PROJECT["project"]["dependencies"],
        *EXTRAS["demo"],
        *EXTRAS["simulate"],
        *EXTRAS["wasm"],
        *EXTRAS["test"],
    ],
    "requirements-benchmark.lock": [*PROJECT["project"]["dependencies"], *EXTRAS["demo"], *EXTRAS["benchmark"]],
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+).*\n(?:    --hash=sha256:[0-9a-f]{64}.*\n?)+", re.MULTILINE)


def pins(name: str) -> dict[str, set[str]]:
    """Package -> versions (more than one where it depends on the system)."""
    found: dict[str, set[str]] = {}
    for match in PIN.finditer((ROOT / name).read_text()):
        found.setdefault(match[1].lower(), set()).add(match[2])
    return found


@pytest.mark.parametrize("name", WANTED)
def test_what_the_project_asks_for_is_locked(name: str) -> None:
    locked = pins(name)
    for text in WANTED[name]:
        wanted = Requirement(text)
        versions = locked.get(wanted.name.lower(), set())
        assert versions and all(wanted.specifier.contains(version) for version in versions), f"{text}: run ./run lock"


@pytest.mark.parametrize("name", WANTED)
def test_every_line_of_a_lock_is_a_pin_with_hashes(name: str) -> None:
    left_over = PIN.sub("", (ROOT / name).read_text())
    assert all(line.startswith("#") or not line for line in left_over.splitlines()), left_over


def test_benchmarks_run_the_versions_that_are_shipped() -> None:
    shipped, measured = pins("requirements.lock"), pins("requirements-benchmark.lock")
    assert {name: measured[name] for name in shipped if name in measured} == {
        name: versions for name, versions in shipped.items() if name in measured
    }


def test_this_environment_is_the_locked_one() -> None:
    from importlib.metadata import version

    locked, here = pins("requirements.lock"), default_environment()
    for text in PROJECT["project"]["dependencies"]:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate(dict(here)):
            assert version(wanted.name) in locked[wanted.name.lower()], f"{wanted.name}: run ./run setup"
