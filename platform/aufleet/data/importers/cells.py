"""Cells that tables of labels share: subject, path, House-Brackmann score, affected side."""

import difflib
import re
from pathlib import PurePosixPath

from aufleet.data.importers.tables import Row, Table
from aufleet.data.manifest import NAME_PATTERN
from aufleet.errors import DataError

_ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}
_SIDES = {"": "", "none": "none", "left": "left", "right": "right", "l": "left", "r": "right"}


def subject_of(row: Row) -> str:
    """Return who is seen.

    Raises:
        DataError: The cell is empty or cannot stand in a key.
    """
    subject = row.required("subject")
    if not re.fullmatch(NAME_PATTERN, subject):
        raise DataError(
            f"{row.where} has subject {subject!r}",
            "a subject is letters, digits, dot, dash and underscore, at most 100",
        )
    return subject


def score_of(row: Row) -> int:
    """Return the House-Brackmann score, 1 to 6 or I to VI; 0 where the cell is empty.

    Raises:
        DataError: It is neither.
    """
    text = row.text("house_brackmann").upper()
    if text in _ROMAN:
        return _ROMAN[text]
    return row.whole("house_brackmann", low=1, high=6) or 0


def side_of(row: Row) -> str:
    """Return the affected side, the patient's own; "" where the cell is empty.

    Raises:
        DataError: It is no side.
    """
    text = row.text("side")
    if text.lower() not in _SIDES:
        raise DataError(f"{row.where} has side {text!r}", "it is left, right or none")
    return _SIDES[text.lower()]


def path_of(row: Row, column: str, *, suffixes: tuple[str, ...]) -> str:
    """Return the path of a file below the source.

    Raises:
        DataError: It leads out of the source, or is of a kind that cannot be read.
    """
    path = row.required(column).replace("\\", "/").removeprefix("./")
    if path.startswith("/") or ":" in path or ".." in PurePosixPath(path).parts:
        raise DataError(f"{row.where} names {path}", "paths are relative to the source")
    if not path.lower().endswith(suffixes):
        raise DataError(
            f"{row.where} names {path}, which is no {column}", f"it ends in {', '.join(suffixes)}"
        )
    return path


def sequence_of(row: Row, path: str) -> str:
    """Return the name of a sequence: its cell, or the file's path without suffix."""
    return row.text("sequence") or str(PurePosixPath(path).with_suffix(""))


def check_columns(table: Table, *, known: tuple[str, ...]) -> None:
    """Refuse a column that looks like a known one misspelt; others belong to the lab.

    Raises:
        DataError: There is one.
    """
    for column in table.columns:
        near = difflib.get_close_matches(column.lower().strip(), known, n=1, cutoff=0.8)
        if near and column not in known:
            raise DataError(
                f"{table.where} has a column {column!r}",
                f"call it {near[0]}, or otherwise if it is something else",
            )
