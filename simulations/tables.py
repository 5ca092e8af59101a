"""The tables of a run as CSV and Parquet files, as pandas data frames, and in short.

Cells are text, whole numbers, numbers, truth values or nothing. A CSV file does not say which; the
kinds of its columns are kept beside it (`kinds`), so that what is read is what was written.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from protocol.errors import LocalError
from simulations.extras import installed, require
from simulations.result import Result, Row, Value

if TYPE_CHECKING:
    import pandas

Kind = Literal["text", "int", "float", "bool"]
_KINDS: tuple[tuple[type, Kind], ...] = ((bool, "bool"), (int, "int"), (float, "float"), (str, "text"))
_NUMERIC = ("int", "float")
_TRUTH = {"true": True, "false": False}
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Spread:
    """One column of numbers in short."""

    column: str
    count: int
    mean: float
    least: float
    median: float
    p95: float
    most: float


def kinds(rows: Iterable[Row]) -> dict[str, Kind]:
    """The columns of a table, in the order in which they first appear, and what they hold.

    A column of whole and other numbers is one of numbers; any other mixture is text.
    """
    found: dict[str, set[Kind]] = {}
    for row in rows:
        for column, value in row.items():
            column_kinds = found.setdefault(column, set())
            if value is not None:
                column_kinds.add(_kind(value))
    return {column: _common(of) for column, of in found.items()}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """One table; nothing is an empty cell, and so is an empty text."""
    columns = kinds(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        # Lines end as RFC 4180 says: with another ending, Python 3.11 leaves cells with \r unquoted.
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows([_to_text(row.get(column)) for column in columns] for row in rows)


def read_csv(path: Path, columns: dict[str, Kind]) -> list[Row]:
    """A table that `write_csv` wrote; raises `LocalError` naming the file and the line where it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            if next(reader, []) != list(columns):
                raise LocalError(f"{path} does not have the columns that the run wrote; run the scenario again")
            return [_row(path, number, line, columns) for number, line in enumerate(reader, 2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LocalError(f"cannot read the table {path}: {error}") from error


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """The same as Parquet; raises `LocalError` when pyarrow is missing."""
    require("a Parquet file", ("pyarrow",))
    import pyarrow
    import pyarrow.parquet

    types = {"text": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64(), "bool": pyarrow.bool_()}
    columns = kinds(rows)
    data = {column: [_cell(row.get(column), kind) for row in rows] for column, kind in columns.items()}
    schema = pyarrow.schema([(column, types[kind]) for column, kind in columns.items()])
    pyarrow.parquet.write_table(pyarrow.table(data, schema=schema), path)


def write_tables(tables: dict[str, list[Row]], folder: Path) -> None:
    """Each table as CSV and, where pyarrow is installed, as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
        if installed("pyarrow"):
            write_parquet(folder / f"{name}.parquet", rows)


def frames(result: Result) -> "dict[str, pandas.DataFrame]":
    """The tables of a run as pandas data frames, by name; raises `LocalError` when pandas is missing."""
    require("a data frame", ("pandas",))
    import pandas

    return {
        name: pandas.DataFrame.from_records(rows, columns=list(kinds(rows))) for name, rows in result.tables.items()
    }


def spreads(rows: Sequence[Row]) -> list[Spread]:
    """Each column of numbers in short; what is missing or no number does not count."""
    found = ((column, sorted(numbers(rows, column))) for column, kind in kinds(rows).items() if kind in _NUMERIC)
    return [_spread(column, values) for column, values in found if values]


def numbers(rows: Iterable[Row], column: str) -> list[float]:
    """The finite numbers of one column, in order."""
    values = (row.get(column) for row in rows)
    return [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted `values` lie (the nearest one); they may not be empty."""
    return values[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))]


def _spread(column: str, values: list[float]) -> Spread:
    return Spread(
        column=column,
        count=len(values),
        mean=math.fsum(values) / len(values),
        least=values[0],
        median=quantile(values, 0.5),
        p95=quantile(values, 0.95),
        most=values[-1],
    )


def _kind(value: str | int | float | bool) -> Kind:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _INT64_MAX:
        return "float"
    return next(kind for kind_type, kind in _KINDS if isinstance(value, kind_type))


def _common(found: set[Kind]) -> Kind:
    if len(found) == 1:
        return next(iter(found))
    return "float" if found == {"int", "float"} else "text"


def _to_text(value: Value) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(value: Value, kind: Kind) -> Value:
    """A value as its column holds it, also where the column is a mixture."""
    if value is None or value == "":
        return None
    if kind == "float":
        return float(value)
    return _to_text(value) if kind == "text" else value


def _row(path: Path, number: int, line: list[str], columns: dict[str, Kind]) -> Row:
    if len(line) != len(columns):
        raise LocalError(f"{path}:{number}: {len(line)} cells where the table has {len(columns)} columns")
    try:
        return {column: _from_text(text, kind) for text, (column, kind) in zip(line, columns.items(), strict=True)}
    except (ValueError, KeyError) as error:
        raise LocalError(f"{path}:{number}: a cell does not fit its column: {error}") from error


def _from_text(text: str, kind: Kind) -> Value:
    if not text:
        return None
    match kind:
        case "text":
            return text
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "bool":
            return _TRUTH[text]
