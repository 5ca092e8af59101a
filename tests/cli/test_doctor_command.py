"""`peer doctor` as a person uses it: the table, the JSON, the exit code; with no peer on the folder."""

import io
import json

import pytest
from rich.console import Console

from cli.doctor_show import diagnosis_view
from cli.main import main
from peer.doctor.check import Diagnosis, ok, problem, unknown, warning


def rendered(found: Diagnosis, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(diagnosis_view(found))
    return console.file.getvalue()


def test_what_is_wrong_has_its_fix_below_and_fits_a_terminal():
    text = rendered(
        Diagnosis.of(
            [ok("disk", "1 GiB"), problem("key", "it is damaged " * 12, "put a copy there"), unknown("a", "b", "c")]
        )
    )
    assert "PROBLEM" in text and "-> put a copy there" in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.strip().endswith("1 problem to mend, 0 warnings.")


def test_the_sum():
    assert "This peer can work." in rendered(Diagnosis.of([ok("disk", "1 GiB")]))
    assert "This peer can work; 1 warning." in rendered(Diagnosis.of([warning("disk", "1 GiB", "free some")]))


def test_foreign_text_does_not_steer_the_terminal():
    assert "\x1b" not in rendered(Diagnosis.of([ok("GPU", "evil\x1b[2Jname")]))


@pytest.mark.parametrize("broken", [False, True])
def test_exit_code_and_json(tmp_path, capfdbinary, broken):
    (tmp_path / "identity.key").write_bytes(b"short" if broken else bytes(32))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json", "--data", str(tmp_path)])
    document = json.loads(capfdbinary.readouterr().out)
    names = {one["name"]: one for one in document["checks"]}
    assert {"Python", "settings", "data folder", "disk", "database", "key", "clock", "network", "reachability", "relay",
            "bubblewrap", "sandbox bubblewrap", "sandbox landlock", "cgroup", "runtime python", "GPU",
            "Blender"} <= set(names)  # fmt: skip
    assert (names["key"]["level"] == "problem") is broken
    assert ended.value.code == (0 if document["can_work"] else 1)
    assert not (broken and document["can_work"])
