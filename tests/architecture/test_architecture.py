"""The rules that no reviewer should have to check by eye (DESIGN sections 2 and 3)."""

import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

import call_rules
import import_rules
import pytest
import shape_rules
from source_tree import FOLDERS, ROOT, Source, sources

EVERYWHERE = (*FOLDERS, "tests")
PER_PEER = ("protocol", "dht", "peer")


def complain(complaints: list[str]) -> None:
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize(
    ("rule", "folders"),
    [
        (import_rules.wrong_direction, FOLDERS),
        (import_rules.banned_modules, FOLDERS),
        (shape_rules.long_functions, EVERYWHERE),
        (shape_rules.long_file, FOLDERS),
        (shape_rules.missing_docstrings, FOLDERS),
        (shape_rules.module_state, PER_PEER),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rule_holds(rule: Callable[[Source], Iterator[str]], folders: tuple[str, ...]) -> None:
    complain([complaint for source in sources(*folders) for complaint in rule(source)])


@pytest.mark.parametrize("rule", call_rules.ROOMS, ids=lambda rule: rule.__name__)
def test_calls_stay_in_their_rooms(rule: call_rules.Rule) -> None:
    complain([complaint for source in sources(*FOLDERS) for complaint in call_rules.outside_rooms(rule, source)])


@pytest.mark.parametrize("rule", call_rules.ROOMS, ids=lambda rule: rule.__name__)
def test_no_room_stands_empty(rule: call_rules.Rule) -> None:
    used = {source.path for source in sources(*FOLDERS) if list(rule(source))}
    complain(
        [f"{room}: no longer needed" for room in call_rules.ROOMS[rule] if not any(fnmatch(p, room) for p in used)]
    )


def test_no_import_cycles() -> None:
    complain(import_rules.cycle(sources(*FOLDERS)))


def test_test_modules_have_docstrings() -> None:
    complain([f"{one.path}: no docstring" for one in sources("tests") if not one.text.lstrip().startswith('"""')])


def test_names_of_test_modules_are_unique() -> None:
    """They are imported by their names alone."""
    names = Counter(one.path.rsplit("/", 1)[-1] for one in sources("tests"))
    complain([f"{name}: {number} files have this name" for name, number in names.items() if _is_double(name, number)])


def _is_double(name: str, number: int) -> bool:
    return number > 1 and name not in ("conftest.py", "__init__.py")


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = [path for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")]
    assert sorted(listed) == sorted(path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in inits)


def test_top_level_folders_are_the_six_of_the_design() -> None:
    assert {path.split("/")[0] for path in _tracked() if "/" in path} - {".ci"} == set(EVERYWHERE)


def test_tracked_files_name_no_registry_host() -> None:
    texts = ((path, (ROOT / path).read_text(errors="replace")) for path in _tracked() if (ROOT / path).is_file())
    complain([complaint for path, text in texts for complaint in shape_rules.foreign_names(path, text)])


def _tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [path for path in listing.stdout.split("\0") if path]
