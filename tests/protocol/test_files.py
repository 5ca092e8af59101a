"""Files in values: found and replaced in one order, and refused where they are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import encoding
from protocol.errors import BadFrame
from protocol.files import FILE_MARK, FILES_PER_CHUNK_MAX, FileRef, files_in, with_files

FILE = FileRef(name="a.png", blob="0f" * 32, size_bytes=7)
files = st.builds(
    FileRef,
    name=st.text(st.characters(exclude_categories=("C",), exclude_characters="/"), min_size=1, max_size=20).filter(
        lambda name: name not in (".", "..")
    ),
    blob=st.just("ab" * 32),
    size_bytes=st.integers(0, 2**30),
)
values = st.recursive(
    st.none() | st.integers() | st.text() | files.map(lambda one: one.plain()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_was_replaced_comes_back(value: object) -> None:
    found = files_in(value)
    numbered = iter(range(len(found)))
    places = with_files(value, lambda _: f"file {next(numbered)}")
    assert files_in(places) == []
    assert with_files(value, lambda file: file.plain()) == value
    assert (FILE_MARK in encoding.encode(value)) or not found


def test_the_order_is_that_of_lists_and_of_sorted_keys() -> None:
    one, two, three = (FileRef(name=name, blob="00" * 32, size_bytes=0) for name in "abc")
    assert files_in([{"z": two.plain(), "a": one.plain()}, three.plain()]) == [one, two, three]


@pytest.mark.parametrize(
    "wrong",
    [
        {"$file": 1},
        {"$file": {"name": "a"}},
        {**FILE.plain(), "more": 1},
        {"$file": {"name": "../a", "blob": "00" * 32, "size_bytes": 1}},
        {"$file": {"name": "..", "blob": "00" * 32, "size_bytes": 1}},
        {"$file": {"name": "a\n", "blob": "00" * 32, "size_bytes": 1}},
        {"$file": {"name": "a", "blob": "00" * 31, "size_bytes": 1}},
        {"$file": {"name": "a", "blob": "00" * 32, "size_bytes": -1}},
        {"$file": {"name": "a" * 121, "blob": "00" * 32, "size_bytes": 1}},
        [FILE.plain()] * (FILES_PER_CHUNK_MAX + 1),
    ],
)
def test_what_is_no_file_is_refused(wrong: object) -> None:
    with pytest.raises(BadFrame, match=r"not a file|more than \d+ files"):
        files_in([wrong])
