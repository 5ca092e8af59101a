"""What a user may hand in wrongly: each is one line that names the file and, where there is one, the line."""

from pathlib import Path

import pytest

from cli import inputs
from cli.exits import WrongUse
from cli.inputs import prepare_out, read_items, read_job_file

GOOD = "def run(item):\n    return item\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "file") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "from helpers import run\n",
        "import functools\nrun = functools.partial(pow, 2)\n",
        "try:\n    from fast import run\nexcept ImportError:\n    def run(item): ...\n",
        "if True:\n    def run(*items): ...\n",
        "class run:\n    def __init__(self, item): ...\n",
        "\ufeff" + GOOD,
    ],
)
def test_every_way_to_define_run_is_taken(write, source):
    assert "run" in read_job_file(write(source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", r"file has no function `run` at its top level; add"),
        ("class A:\n    def run(self): ...\n", "has no function `run`"),
        ("def main():\n    def run(item): ...\n", "has no function `run`"),
        ("x = 1\ndef run(:\n", r"file:2: "),
        ("x = 1\n\nasync def run(item): ...\n", r"file:3: `run` must be a plain function"),
        ("def run(): ...\n", r"file:1: `run` must take the item"),
        (b"def run(item): return '\xff'\n", r"file"),
        (b"def run(item): ...\0\n", r"file"),
    ],
)
def test_a_job_file_that_cannot_work_is_refused(write, source, message):
    with pytest.raises(WrongUse, match=message) as caught:
        read_job_file(write(source))
    assert "\n" not in str(caught.value)


def test_the_job_file_is_not_run(write, tmp_path):
    marker = tmp_path / "ran"
    read_job_file(write(f"open({str(marker)!r}, 'w')\n{GOOD}"))
    assert not marker.exists()


def test_a_job_file_that_is_missing_or_a_folder_or_too_long(write, tmp_path, monkeypatch):
    with pytest.raises(WrongUse, match=r"cannot read the job file .*none\.py: No such file"):
        read_job_file(tmp_path / "none.py")
    with pytest.raises(WrongUse, match=r"cannot read the job file .*: Is a directory"):
        read_job_file(tmp_path)
    monkeypatch.setattr(inputs, "CODE_SIZE_BYTES_MAX", 4)
    with pytest.raises(WrongUse, match="KiB at most"):
        read_job_file(write(GOOD))


def test_items_are_json_of_any_kind(write):
    assert read_items(write('\ufeff1\r\n"two"\n{"three": [3.5, null]}\n\n  \n')) == [1, "two", {"three": [3.5, None]}]


def test_big_integers_stay_exact(write):
    assert read_items(write(f"{2**80}\n")) == [2**80]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file is empty; it needs one JSON value per line"),
        (" \n\n", "file is empty"),
        ("1\n2\nthree\n", r"file:3: not JSON: 'three'"),
        ("1\n\n3\n", r"file:2: not JSON: an empty line"),
        ("1\nNaN\n", r"file:2: not JSON"),
        (b'"\xff"\n', r"file:1: not JSON"),
        ("[" * 100_000, r"file:1: not JSON"),
    ],
)
def test_items_that_are_not_json_are_refused_with_their_line(write, text, message):
    with pytest.raises(WrongUse, match=message) as caught:
        read_items(write(text))
    assert "\n" not in str(caught.value)


def test_too_many_and_too_long_items_are_refused(write, monkeypatch):
    monkeypatch.setattr(inputs, "ITEMS_PER_JOB_MAX", 2)
    with pytest.raises(WrongUse, match="3 lines; a job may have 2 items"):
        read_items(write("1\n2\n3\n"))
    monkeypatch.setattr(inputs, "ITEM_SIZE_BYTES_MAX", 10)
    with pytest.raises(WrongUse, match=r"file:2: 22 bytes"):
        read_items(write(f'1\n"{"x" * 20}"\n'))


def test_an_input_file_beyond_the_limit_is_refused(write, monkeypatch):
    monkeypatch.setattr(inputs, "REQUEST_SIZE_BYTES_MAX", 10)
    with pytest.raises(WrongUse, match="split it into several jobs"):
        read_items(write("1\n" * 20))


def test_a_folder_that_holds_something_needs_force(tmp_path):
    prepare_out(tmp_path / "new" / "deep", force=False)
    assert (tmp_path / "new" / "deep").is_dir()
    with pytest.raises(WrongUse, match=r"not empty; choose another folder with --out, or add --force"):
        prepare_out(tmp_path, force=False)
    prepare_out(tmp_path, force=True)


def test_a_folder_that_cannot_be_made_is_refused(write, tmp_path):
    write("x", "taken")
    with pytest.raises(WrongUse, match=r"cannot use .*taken.* for the results"):
        prepare_out(tmp_path / "taken" / "out", force=False)
