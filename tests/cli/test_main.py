"""The command itself: wrong use ends before anything starts, with one line and the right exit code."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import main as main_module
from cli.demo.show import what_was_seen
from cli.main import app, main
from peer.views import JobState, JobView
from protocol.errors import Unavailable

GOOD = "def run(item):\n    return item\n"


@pytest.fixture
def submit(tmp_path: Path, monkeypatch, capsys):
    """`submit(*words, code=, items=)`: the exit code and what was complained; nothing may be started."""

    def no_child(*_: object, **__: object) -> None:
        raise AssertionError("a peer was started")

    monkeypatch.setattr("cli.child.ChildPeer.__enter__", no_child)

    def submit(*words: str, code: str = GOOD, items: str = "1\n", out: str = "out") -> tuple[int, str]:
        (tmp_path / "job.py").write_text(code)
        (tmp_path / "in.jsonl").write_text(items)
        arguments = ["submit", "python", str(tmp_path / "job.py"), "--map", str(tmp_path / "in.jsonl")]
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--out", str(tmp_path / out), "--data", str(tmp_path / "data"), *words])
        return ended.value.code, capsys.readouterr().err

    return submit


@pytest.mark.parametrize(
    ("words", "files", "message"),
    [
        ([], {"code": "x = 1\n"}, r"job.py has no function `run`"),
        (
            ["--compare", "roughly"],
            {},
            r"--compare: comparator 'roughly' is not known: use exact, canonical, tolerance",
        ),
        (
            ["--compare", "verify"],
            {},
            "job.py has no function `verify` at its top level, which --compare verify needs; add `def verify",
        ),
        (
            ["--compare", "verify"],
            {"code": GOOD + "def verify(item):\n    return True\n"},
            "job.py:3: `verify` must take item and result",
        ),
        (["--compare", "tolerance:2"], {}, r"--compare: comparator 'tolerance:2' is not known"),
        ([], {"code": "def run(item):\nreturn\n"}, "job.py:2: "),
        ([], {"items": ""}, "in.jsonl is empty"),
        ([], {"items": "1\n{\n"}, "in.jsonl:2: not JSON"),
        ([], {"out": "."}, "is not empty; choose another folder with --out"),
        ([], {"out": "job.py/out"}, "for the results"),
        (["--verify", "trust me"], {}, "--verify: "),
        (["--verify", "quorum:0"], {}, "--verify: "),
        (["--max-error", "0"], {}, "--max-error"),
        (["--max-error", "nan"], {}, "--max-error"),
        (["--max-overhead", "0.5"], {}, "--max-overhead"),
        (["--assume-liars", "1"], {}, "--assume-liars"),
        (["--audit-share", "150%"], {}, "--audit-share"),
        (["--local", "two"], {}, "--local takes a number of slots or `off`, not 'two'"),
        (["--local", "999"], {}, "out of range"),
        (["--item-timeout", "0"], {}, "out of range"),
        (["--cores", "0"], {}, "--cores takes a number from 1 to 256, not '0'"),
        (["--memory", "lots"], {}, "--memory takes a size such as 512M or 8G, not 'lots'"),
        (["--memory", "1K"], {}, "--memory takes at least 64M, such as 4G, not '1K'"),
        (["--gpu", "nvidia:"], {}, "--gpu takes any, nvidia, nvidia:16G or 16G, not 'nvidia:'"),
        (["--gpu", "16 elephants"], {}, "--gpu takes any, nvidia"),
        (["--runtime-version", "3.11"], {}, "--runtime-version takes versions such as >=3.11"),
        (["--runtime-version", ">=three"], {}, "--runtime-version takes versions"),
        (["--disk", "-1"], {}, "--disk takes a size such as"),
        (["--sandbox", "landlock"], {}, "--sandbox takes any or strong, not 'landlock'"),
        (["--max-price", "-1"], {}, "--max-price takes a number of credits, not '-1'"),
        (["--max-price", "nan"], {}, "--max-price takes a number of credits"),
        (["--budget", "0"], {}, "--budget takes more than 0 credits"),
        (["--budget", "much"], {}, "--budget takes a number of credits, not 'much'"),
        (["--deadline", "soon"], {}, "--deadline takes a time such as 90s, 30m, 2h or 1d"),
        (["--deadline", "0m"], {}, "--deadline takes a time"),
        (["--runtime-version", ">=" + "1" * 300], {}, "--runtime-version takes at most 256 characters"),
        (["--bootstrap", "/ip4/1.2.3.4/tcp/1"], {}, "has no peer id"),
    ],
)
def test_wrong_use_of_submit_ends_with_2_before_anything_starts(submit, words, files, message):
    code, complaint = submit(*words, **files)
    assert code == 2
    assert message in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cores", "-1"], "--cores takes a number from 0 to 256, not '-1'"),
        (["--cores", "two"], "--cores takes a number from 0 to 256, not 'two'"),
        (["--memory", "8 elephants"], "--memory takes a size such as 512M or 8G, not '8 elephants'"),
        (["--memory", "1M"], "--memory takes at least 64M"),
        (["--price", "-1"], "--price takes a number from 0"),
        (["--price", "nan"], "--price takes a number from 0"),
        (["--schedule", "at night"], "--schedule takes hours such as 22:00-07:00"),
        (["--max-cpu", "150%"], "--max-cpu takes a share such as 50% or 0.5, not '150%'"),
        (["--max-cpu", "0"], "--max-cpu takes at least 5%"),
        (["--accept", "friends"], "--accept takes anyone, paired, ask, not 'friends'"),
        (["--runtimes", "python,cobol"], "--runtimes takes runtimes out of python, "),
        (["--nice", "20"], "--nice takes a number from 0 to 19, not '20'"),
    ],
)
def test_wrong_use_of_start_names_the_option(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["start", *words, "--data", str(tmp_path / "data")])
    complaint = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "data").exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max-cpu = 2", "config.toml: max-cpu takes a share such as 50% or 0.5, not '2'"),
        ("speed = 2", "config.toml: speed is no setting; there are cores, memory"),
        ("[worker]\ncores = 2", "config.toml: worker is no setting"),
        ("cores = ", "config.toml is not TOML: "),
    ],
)
def test_a_wrong_settings_file_names_the_key(text, message, tmp_path, capsys):
    (tmp_path / "config.toml").write_text(text)
    for words in (["start"], ["config", "show"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--data", str(tmp_path)])
        complaint = capsys.readouterr().err
        assert ended.value.code == 2
        assert message in complaint and complaint.count("\n") == 1


def test_settings_are_kept_in_a_file_and_leave_again(tmp_path, capsys):
    def config(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["config", *words, "--data", str(tmp_path)])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    assert "the defaults hold" in config("show")[1]
    assert config("set", "max-cpu", "50%") == (0, "max-cpu = 50% from the next start on\n")
    assert config("set", "cores", "2")[0] == 0
    assert config("set", "max-cpu", "40%")[0] == 0
    assert config("show") == (0, "cores = 2\nmax-cpu = 40%\n")
    assert config("set", "nice", "30") == (2, "peer: nice takes a number from 0 to 19, not '30'\n")
    assert config("set", "speed", "9")[1].startswith("peer: speed is no setting; there are cores, memory")
    assert config("unset", "cores") == (0, "cores is at its default from the next start on\n")
    assert config("unset", "cores") == (0, "cores was not set\n")
    assert config("unset", "speed")[0] == 2
    assert config("show", "--json") == (0, '{"max-cpu":"40%"}\n')


@pytest.mark.parametrize("period", ["soon", "0m", "31d", "2 hours"])
def test_a_pause_takes_a_time(period, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["pause", "--for", period, "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "--for takes a time such as 90s, 30m, 2h or 1d" in capsys.readouterr().err


def test_another_runtime_is_refused_by_name(submit, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["submit", "cobol", "job", "--map", "in", "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "'cobol'" in capsys.readouterr().err


def test_a_missing_option_and_an_unknown_command_end_with_2():
    runner = CliRunner()
    assert runner.invoke(app, ["submit", "python", "job.py"]).exit_code == 2
    assert runner.invoke(app, ["nonsense"]).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["peers"],
        ["stop"],
        ["trust", "list"],
        ["trust", "show", "abc"],
        ["trust", "ban", "abc"],
        ["ledger"],
        ["pause"],
        ["resume"],
        ["requests"],
        ["accept", "abc"],
        ["job", "list"],
        ["job", "show", "x"],
        ["job", "logs", "x"],
        ["job", "cancel", "x"],
        ["job", "retry", "x"],
    ],
)
def test_without_a_peer_each_question_says_how_to_start_one(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--data", str(tmp_path)])
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"peer: no peer runs on {tmp_path}; start one with `peer start`\n"


@pytest.mark.parametrize("period", ["soon", "0d", "-1d", "9999999999d", "30 days"])
def test_a_ban_takes_a_time(period, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["trust", "ban", "abc", f"--for={period}", "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "--for takes a time such as 90m, 12h or 30d" in capsys.readouterr().err


def test_no_error_reaches_the_user_as_a_traceback(monkeypatch, capsys, tmp_path):
    def fail(error: Exception) -> None:
        def raise_it(_: object) -> None:
            raise error

        monkeypatch.setattr(main_module, "_client", raise_it)

    fail(Unavailable("nobody answers"))
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    assert (ended.value.code, capsys.readouterr().err) == (1, "peer: nobody answers\n")
    fail(ZeroDivisionError("inside"))
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    complaint = capsys.readouterr().err
    assert ended.value.code == 1
    assert "internal error: ZeroDivisionError: inside" in complaint
    assert "Traceback" not in complaint


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "_client", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    assert ended.value.code == 130


def test_the_demonstration_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["demo"])
    assert ended.value.code == 2
    assert "scikit-learn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("liars", "revoked", "last"),
    [
        ([], 0, "not caught"),
        (["mallory"], 0, "nothing had counted yet"),
        (["mallory"], 1, "1 chunk that had counted already"),
        (["mallory"], 4, "4 chunks that had counted already"),
    ],
)
def test_the_demonstration_says_what_was_seen(liars, revoked, last):
    job = JobView(id="j", name="digits", state=JobState.DONE, liars=liars, revoked=revoked)
    lines = what_was_seen(job)
    assert last in lines[-1] and len(lines) <= 3 and max(map(len, lines)) <= 120


def test_a_terminal_without_unicode_gets_no_traceback(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "cli", "--help"],
        env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0
    assert b"submit" in ended.stdout
