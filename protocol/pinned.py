"""Lists of Python packages that say exactly what is installed: `name==version`, with hashes where there are any.

The form is that of pip's requirements files, less everything that says where packages come from or runs code: options,
URLs, paths. Complete lists alone make sense, since nothing else is installed: then equal lists are equal environments.
"""

import re
from collections.abc import Iterator

from protocol.errors import LocalError

REQUIREMENTS_LENGTH_MAX = 256 * 1024
REQUIREMENTS_MAX = 1000
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
_LINE = re.compile(
    rf"{_NAME}(?:\[[A-Za-z0-9,._ -]{{1,200}}\])?\s*==\s*[A-Za-z0-9][A-Za-z0-9.+!_-]{{0,99}}"
    r"(?:\s*;[A-Za-z0-9_.<>=!'\"() ,~*+-]{1,500})?(?:\s+--hash=sha256:[0-9a-f]{64})*",
    re.ASCII,
)


def check_pinned(text: str) -> int:
    """How many packages are listed; raises `LocalError` that names the first line which is not `name==version`."""
    if len(text) > REQUIREMENTS_LENGTH_MAX:
        raise LocalError(f"a list of {len(text)} characters; at most {REQUIREMENTS_LENGTH_MAX} are allowed")
    count = 0
    for line in _lines(text):
        if not _LINE.fullmatch(line):
            raise LocalError(f"{line[:80]!r} is not of the form name==version")
        count += 1
    if count > REQUIREMENTS_MAX:
        raise LocalError(f"{count} packages; at most {REQUIREMENTS_MAX} are allowed")
    return count


def _lines(text: str) -> Iterator[str]:
    """Without comments, and with those that go on with a backslash as one."""
    whole = re.sub(r"\\\r?\n", " ", text)
    for line in whole.splitlines():
        if stripped := re.sub(r"(^|\s)#.*", "", line).strip():
            yield stripped
