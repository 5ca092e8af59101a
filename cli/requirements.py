"""The packages of a job, from a requirements file or from the job file itself (PEP 723), made into a complete list.

`uv` resolves here, once, for all workers: equal lists are equal environments, so results can be compared.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from cli.exits import WrongUse
from peer.runtimes.environments import find_uv
from protocol.errors import LocalError
from protocol.pinned import check_pinned

COMPILE_S_MAX = 300.0
_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_HASHED = "--hash="


def pinned_requirements(file: Path | None, job_file: Path, code: str) -> str:
    """The complete list, empty where the job asks for nothing; raises `WrongUse`."""
    if file is not None:
        wanted, named = _read(file), str(file)
    else:
        wanted, named = "\n".join(inline_dependencies(job_file, code)), str(job_file)
    if not wanted.strip():
        return ""
    if _HASHED in wanted:
        try:
            check_pinned(wanted)
        except LocalError as error:
            raise WrongUse(f"{named}: {error}") from error
        return wanted
    return _resolved(wanted, named)


def inline_dependencies(job_file: Path, code: str) -> list[str]:
    """Those in the `# /// script` block of the job file (PEP 723); raises `WrongUse` for a bad one."""
    found = list(_BLOCK.finditer(code))
    if len(found) > 1:
        raise WrongUse(f"{job_file} has more than one block `# /// script`")
    if not found:
        return []
    lines = found[0]["content"].splitlines()
    try:
        table = tomllib.loads("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(f"{job_file}: the block `# /// script` is not TOML: {error}") from error
    wanted = table.get("dependencies", [])
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise WrongUse(f"{job_file}: `dependencies` in the block `# /// script` must be a list of texts")
    return wanted


def _resolved(wanted: str, named: str) -> str:
    uv = find_uv()
    if uv is None:
        raise WrongUse(f"{named} names packages, and `uv` is not here to find out which versions: pip install uv")
    words = [str(uv), "pip", "compile", "-", "--quiet", "--universal", "--generate-hashes", "--no-annotate"]
    words += ["--no-header", "--no-emit-index-url", "--python-version", f"3.{sys.version_info.minor}"]
    try:
        ended = subprocess.run(
            words, input=wanted, capture_output=True, text=True, timeout=COMPILE_S_MAX, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        raise WrongUse(f"{named}: the versions of packages were not found within {COMPILE_S_MAX:.0f} s") from error
    if ended.returncode:
        lines = [line.strip(" ×╰─▶\t") for line in ended.stderr.splitlines() if line.strip()]
        raise WrongUse(f"{named}: {'; '.join(lines)[:500]}")
    try:
        check_pinned(ended.stdout)
    except LocalError as error:
        raise WrongUse(f"{named}: only packages by name and version can be sent: {error}") from error
    return ended.stdout


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"cannot read {path}: {error}") from error
