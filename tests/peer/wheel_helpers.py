"""Packages that tests make themselves, and a job file that asks for one."""

import zipfile
from pathlib import Path

BLOCK = """
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "greeting>1",
# ]
# ///
import greeting
def run(item):
    return greeting.VERSION
"""


def wheel(folder: Path, name: str, version: str, *, requires: str = "") -> Path:
    """A package with one module, which says its version."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return path
