"""Tables on disk: what is read is what was written, in CSV and in Parquet; nothing is mistaken for something."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import made_result

from protocol.errors import LocalError
from simulations.tables import (
    frames,
    kinds,
    quantile,
    read_csv,
    spreads,
    write_csv,
    write_parquet,
    write_tables,
)

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
COLUMNS = {
    "text": TEXT,
    "int": st.integers(-(2**63) + 1, 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
}


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, object]]:
    columns = draw(st.dictionaries(TEXT, st.sampled_from(sorted(COLUMNS)), max_size=4))
    row = st.fixed_dictionaries({name: st.none() | COLUMNS[kind] for name, kind in columns.items()})
    return draw(st.lists(row, max_size=5))


@settings(deadline=None)
@given(rows=tables())
def test_csv_gives_back_what_was_written(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(path, rows)
    assert read_csv(path, kinds(rows)) == rows


@settings(deadline=None)
@given(rows=tables())
def test_parquet_holds_the_same(rows, tmp_path_factory):
    import pyarrow.parquet

    path = tmp_path_factory.mktemp("parquet") / "t.parquet"
    write_parquet(path, rows)
    table = pyarrow.parquet.read_table(path)
    if kinds(rows):
        assert table.to_pylist() == rows


def test_columns_keep_their_order_and_mixtures_become_the_wider_kind():
    rows = [{"b": 1, "a": "x"}, {"b": 2.5, "c": None}, {"d": True, "a": 3}, {"e": 2**70}]
    assert kinds(rows) == {"b": "float", "a": "text", "c": "text", "d": "bool", "e": "float"}


def test_a_table_with_missing_and_mixed_cells_reads_as_its_columns_say(tmp_path):
    rows = [{"b": 1, "a": "x"}, {"b": 2.5, "c": None}, {"d": True, "a": 3}]
    write_tables({"t": rows}, tmp_path)
    assert read_csv(tmp_path / "t.csv", kinds(rows)) == [
        {"b": 1.0, "a": "x", "c": None, "d": None},
        {"b": 2.5, "a": None, "c": None, "d": None},
        {"b": None, "a": "3", "c": None, "d": True},
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "t.parquet"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("n\n1\nx\n", "t.csv:3: a cell does not fit"),
        ("n\n1,2\n", "t.csv:2: 2 cells where the table has 1 columns"),
        ("m\n1\n", "does not have the columns"),
        ('n\n"1\n', "cannot read the table"),
    ],
)
def test_a_broken_table_is_named_with_its_line(tmp_path, text, complaint):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(LocalError, match=complaint):
        read_csv(path, {"n": "int"})


def test_frames_are_the_tables():
    found = frames(made_result())
    assert list(found) == ["chunks", "peers", "messages", "lookups", "jobs"]
    assert found["chunks"]["settled_at_s"].max() == 49.0
    assert list(found["peers"].columns) == ["peer", "kind", "speed", "chunks_run", "note"]
    assert found["lookups"].empty


def test_without_pandas_frames_say_what_to_install(monkeypatch):
    monkeypatch.setattr("simulations.extras.find_spec", lambda name: None)
    with pytest.raises(LocalError, match=r"a data frame needs pandas; install .*parallel-peer\[simulate\]"):
        frames(made_result())


def test_without_pyarrow_there_is_csv_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr("simulations.tables.installed", lambda name: False)
    write_tables(made_result().tables, tmp_path)
    assert {path.suffix for path in Path(tmp_path).iterdir()} == {".csv"}


def test_columns_in_short():
    rows = [{"x": value, "name": "n", "ok": True} for value in (4, 1, 3, 2, None, math.nan)]
    (only,) = spreads(rows)
    assert (only.column, only.count, only.mean, only.least, only.median, only.p95, only.most) == (
        "x",
        4,
        2.5,
        1,
        2,
        4,
        4,
    )


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 5.0), (0.95, 10.0), (1.0, 10.0)])
def test_quantiles_are_values_that_occur(share, value):
    assert quantile([float(one) for one in range(1, 11)], share) == value
