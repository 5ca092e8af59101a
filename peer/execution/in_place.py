"""A Python that runs where it lies, for a sandbox that cannot show files at other places.

The runner's program is laid out in a folder of links, so that the folders around the real files stay closed.
"""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import protocol
from peer.execution.interpreter import PROGRAM_FILES, Interpreter, package_folders

MAIN = "landlock_main"


@dataclass(frozen=True, slots=True)
class Program:
    """The main file to start, and what must be readable for it."""

    main: Path
    files: tuple[Path, ...]


def lay_out_program(at: Path) -> Program:
    """Make a folder of links to the runner's program; raises `OSError`."""
    here = Path(__file__).resolve().parent
    names = (*PROGRAM_FILES, MAIN, "landlock_wall")
    sources = [here.parent / "__init__.py", here / "__init__.py", *(here / f"{name}.py" for name in names)]
    inside = at / "peer" / "execution"
    inside.mkdir(parents=True)
    for source in sources:
        (at / source.relative_to(here.parent.parent)).symlink_to(source)
    package = Path(protocol.__file__).resolve().parent
    (at / "protocol").symlink_to(package)
    return Program(inside / f"{MAIN}.py", (at, package, *sources))


def interpreter_in_place(program: Program, python: Path | None = None) -> Interpreter:
    """The interpreter that runs this peer, or `python`, with this peer's packages; its binds must be readable."""
    if python is None:
        python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = python.resolve()
    library = python.parent.parent / "lib"
    folders = package_folders()
    readable = [python, library, *program.files, *folders]
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
    return Interpreter(
        binds=tuple((path, path) for path in readable),
        command=(str(python), "-s", "-S", "-P", "-B", "-X", "utf8", str(program.main)),
        environment=(("LD_LIBRARY_PATH", str(library)),) if shared else (),
        packages=tuple(map(str, folders)),
        package_folders=tuple(folders),
    )
