"""Lists of packages: complete and pinned ones pass, whatever says where from or runs something does not."""

import pytest

from protocol.errors import LocalError
from protocol.pinned import REQUIREMENTS_MAX, check_pinned

HASH = "--hash=sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("# nothing\n\n", 0),
        ("numpy==2.1.0", 1),
        ("numpy==2.1.0 # a note\nscikit-learn == 1.6.1\n", 2),
        (f"numpy==2.1.0 \\\n    {HASH} \\\n    {HASH}\n", 1),
        (f'colorama==0.4.6 ; sys_platform == "win32" \\\n    {HASH}', 1),
        ("torch==2.5.0+cpu\na_b.c[extra,more]==1!2.0rc1", 2),
    ],
)
def test_pinned_lists(text: str, count: int) -> None:
    assert check_pinned(text) == count


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "--index-url https://example.org",
        "-r other.txt",
        "-e .",
        "./folder",
        "numpy @ file:///tmp/numpy.whl",
        "git+https://example.org/x",
        "numpy==2.1.0 --no-binary :all:",
        "numpy==2.1.0; $(touch x)",
        "numpy==2.1.0 --hash=md5:00",
        "numpy==2.1.0\x00",
        "a==1 b==2",
    ],
)
def test_what_says_more_or_less_is_refused(line: str) -> None:
    with pytest.raises(LocalError, match="is not of the form name==version"):
        check_pinned(f"fine==1\n{line}\n")


def test_too_many_or_too_long() -> None:
    with pytest.raises(LocalError, match="1001 packages"):
        check_pinned("\n".join(f"p{n}==1" for n in range(REQUIREMENTS_MAX + 1)))
    with pytest.raises(LocalError, match="a list of"):
        check_pinned("#" * 300_000)
