"""Asking a running peer must be quick, so what is slow to import stays out of the way (DESIGN section 2)."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"libp2p", "trio", "fastapi", "hypercorn", "pydantic", "numpy", "sklearn", "kademlia", "cryptography"}
ASK = """
import sys
from cli.main import main
try:
    main({arguments!r})
except SystemExit:
    pass
print("IMPORTED", *sorted(name for name in sys.modules if "." not in name))
"""


def imported_by(script: str) -> set[str]:
    """Top-level modules that the script had imported at its end."""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize("words", ["status", "status --json", "job list", "peers"])
def test_asking_imports_nothing_slow(words: str, tmp_path: Path) -> None:
    arguments = [*words.split(), "--data", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-c", ASK.format(arguments=arguments)], capture_output=True, text=True, check=True
    )
    imported = set(ran.stdout.rpartition("IMPORTED")[2].split())
    assert "cli" in imported and not imported & set(SLOW)


def test_this_test_can_fail() -> None:
    script = ASK.format(arguments=["--help"]).replace("from cli.main", "import trio\nfrom cli.main")
    assert sorted(imported_by(script) & SLOW) == ["trio"]
