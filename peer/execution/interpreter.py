"""What a sandboxed Python needs of this machine's files: the least that makes it start and import.

Everything appears at fixed places, so that neither tracebacks nor results depend on where this
machine keeps its files, and the names of its users are not told.
"""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import protocol

_PYTHON_AT = Path("/opt/python")
_PACKAGES_AT = Path("/opt/packages")
PROGRAM_AT = Path("/opt/parallel-peer")
_SYSTEM = Path("/usr")
_PROGRAM_FILES = ("runner_main", "runner_cage", "runner_job", "runner_data", "runner_files", "runner_seeds")
_RUNTIMES = Path(__file__).resolve().parent.parent / "runtimes" / "inside"
LOADER_AT = PROGRAM_AT / "runtime_inside.py"
"""Where the runtime's own file lies inside."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """How to start Python inside: read-only binds (from, to), the command, its environment, import folders."""

    binds: tuple[tuple[Path, Path], ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    packages: tuple[str, ...]
    package_folders: tuple[Path, ...]
    """Where the packages are out here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What one runtime needs in a sandbox: Python with its packages, and the file that has `load`.

    `load` gets the job's settings (a dict: `job`, `runtime`, `filename`, `code`, `entry`, `cores`,
    `memory_bytes_max`) and gives the function that is called with each item; what it raises is the outcome of every
    item. It may import what `interpreter` brings, and `protocol`.
    """

    interpreter: Interpreter
    loader: Path
    binds: tuple[tuple[Path, Path], ...] = ()
    """Further files and folders of this machine (from, to), read-only inside."""
    environment: tuple[tuple[str, str], ...] = ()
    """Further variables."""
    processes: int = 0
    """How many processes it keeps from chunk to chunk; what else a chunk leaves behind costs the runner its warmth."""


def python_inside() -> Inside:
    """For jobs in Python."""
    return Inside(interpreter=this_interpreter(), loader=loader("python"))


def loader(runtime: str) -> Path:
    """The file of one of our own runtimes that goes inside."""
    return _RUNTIMES / f"{runtime}.py"


def this_interpreter() -> Interpreter:
    """The interpreter that runs this peer, with its installed packages and the runner program."""
    python, python_binds, environment = _python()
    folders = _package_folders()
    places = {folder: folder if folder.is_relative_to(_SYSTEM) else _PACKAGES_AT / str(n)
              for n, folder in enumerate(folders)}  # fmt: skip
    binds = [*python_binds, *((source, to) for source, to in places.items() if source != to), *_program_binds()]
    # Not -I: it would ignore PYTHONHASHSEED. The environment inside is ours anyway.
    command = (str(python), "-s", "-S", "-P", "-B", "-X", "utf8", str(_program_path("runner_main")))
    return Interpreter(tuple(binds), command, environment, tuple(map(str, places.values())), tuple(folders))


def _python() -> tuple[Path, list[tuple[Path, Path]], tuple[tuple[str, str], ...]]:
    prefix = Path(sys.base_prefix)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    executable = prefix / "bin" / name
    if prefix.is_relative_to(_SYSTEM):
        return executable, [], ()
    at = _PYTHON_AT / "bin" / name
    binds = [(executable.resolve(), at), (prefix / "lib", _PYTHON_AT / "lib")]
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
    return at, binds, (("LD_LIBRARY_PATH", str(_PYTHON_AT / "lib")),) if shared else ()


def _package_folders() -> list[Path]:
    found = (Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))
    return list(dict.fromkeys(folder.resolve() for folder in found if folder.is_dir()))


def _program_binds() -> list[tuple[Path, Path]]:
    here = Path(__file__).resolve().parent
    sources = [here.parent / "__init__.py", here / "__init__.py", *(here / f"{name}.py" for name in _PROGRAM_FILES)]
    sources += [_RUNTIMES.parent / "__init__.py", _RUNTIMES]
    protocol_folder = Path(protocol.__file__).resolve().parent
    return [(protocol_folder, PROGRAM_AT / "protocol")] + [
        (source, PROGRAM_AT / source.relative_to(here.parent.parent)) for source in sources
    ]


def _program_path(name: str) -> Path:
    return PROGRAM_AT / "peer" / "execution" / f"{name}.py"
