"""Tables of labels, CSV or Parquet, read so that each complaint names the file and the row."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from aufleet.data.importers.source import Source
from aufleet.errors import DataError

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row, its cells as text without blanks around; "" where a cell is empty."""

    where: str
    """Names the row, for messages."""
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """Return a cell; "" also where the table has no such column."""
        return self.cells.get(column, "")

    def required(self, column: str) -> str:
        """Return a cell.

        Raises:
            DataError: It is empty.
        """
        if not (value := self.text(column)):
            raise DataError(f"{self.where} has no {column}", "fill in the cell")
        return value

    def whole(self, column: str, *, low: int, high: int) -> int | None:
        """Return a cell as a whole number, None where it is empty.

        Raises:
            DataError: It is not a whole number from `low` to `high`.
        """
        value = self.text(column)
        if not value:
            return None
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise DataError(
                f"{self.where} has {column} {value!r}", f"it is a whole number from {low} to {high}"
            )
        return number


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with named columns."""

    where: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def require(self, *columns: str, known: tuple[str, ...]) -> None:
        """Check that columns are there.

        Raises:
            DataError: One is not.
        """
        if lacking := [column for column in columns if column not in self.columns]:
            raise DataError(
                f"{self.where} has no column {lacking[0]}, only {', '.join(self.columns)}",
                f"the columns are {', '.join(known)}",
            )


def find_table(source: Source, *, named: str, default: str) -> str:
    """Return the path of the table of labels.

    Args:
        source: The tree.
        named: What the user says, "" for the default.
        default: The default's name without suffix.

    Raises:
        DataError: It is not there.
    """
    wanted = [named.strip("/")] if named else [f"{default}{suffix}" for suffix in SUFFIXES]
    if named and not named.lower().endswith(SUFFIXES):
        raise DataError(f"{named} is no table", f"it ends in {' or '.join(SUFFIXES)}")
    for path in wanted:
        if source.store.exists(path):
            return path
    raise DataError(
        f"there is no {' or '.join(wanted)} at {source.uri}",
        "put the table of labels there, or name it with --labels",
    )


def read_table(data: bytes, *, where: str) -> Table:
    """Return a table.

    Args:
        data: The file's content.
        where: Names the file; its suffix says what it is.

    Raises:
        DataError: The file is empty, has no rows, a column twice, or is not what its name says.
    """
    if not data.strip():
        raise DataError(f"{where} is empty", "copy it again, or write the labels into it")
    is_parquet = where.lower().endswith(".parquet")
    columns, rows = _read_parquet(data, where) if is_parquet else _read_csv(data, where)
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise DataError(f"{where} has the column {twice[0]!r} twice", "remove one")
    if not rows:
        raise DataError(f"{where} has no row below its header", "write the labels into it")
    return Table(where=where, columns=tuple(columns), rows=tuple(rows))


def csv_lines(data: bytes, *, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not blank.

    A file that Excel wrote in Europe has semicolons and begins with a byte order mark.

    Raises:
        DataError: The file is not text, or all its lines are blank.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text", "save it as CSV UTF-8") from error
    header = text.partition("\n")[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    is_blank = True
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                is_blank = False
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(
            f"{where} is not readable near line {reader.line_num}: {error}", "save it again as CSV"
        ) from error
    if is_blank:
        raise DataError(f"{where} is empty", "copy it again, or write the labels into it")


def _read_csv(data: bytes, where: str) -> tuple[list[str], list[Row]]:
    lines = csv_lines(data, where=where)
    _, columns = next(lines)
    rows = []
    for number, cells in lines:
        if len(cells) != len(columns):
            raise DataError(
                f"{where} line {number} has {len(cells)} cells, its header has {len(columns)}",
                "a text with a comma stands in quotes",
            )
        rows.append(
            Row(where=f"{where} line {number}", cells=dict(zip(columns, cells, strict=True)))
        )
    return columns, rows


def _read_parquet(data: bytes, where: str) -> tuple[list[str], list[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} is not Parquet: {error}", "write it again") from error
    rows = [
        Row(
            where=f"{where} row {number}",
            cells={column: _text(value) for column, value in cells.items()},
        )
        for number, cells in enumerate(table.to_pylist(), start=1)
    ]
    return table.column_names, rows


def _text(value: object) -> str:
    # pandas makes whole numbers with gaps to floats with NaN.
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, bool) else str(value).strip()
