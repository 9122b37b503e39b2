"""The label files of BP4D: `AUCoding/AU_OCC/<subject>_<task>.csv`."""

import re
from pathlib import PurePosixPath

from aufleet.data.importers.source import Source
from aufleet.data.importers.tables import csv_lines
from aufleet.domain.action_units import BP4D_UNITS, NOT_CODED, label_of
from aufleet.domain.folds import BP4D_PARTS
from aufleet.errors import DataError

LABEL_FOLDERS = ("AUCoding/AU_OCC", "AUCoding/AUCoding", "AU_OCC")
"""In the release, in that of the FERA challenge, and where a lab unpacked only the codes."""
SUBJECTS = tuple(sorted(subject for part in BP4D_PARTS for subject in part))
TASKS = tuple(f"T{number}" for number in range(1, 9))

LabelRows = dict[int, tuple[int, ...]]
"""Frame number -> label of each of the 12 units: 0, 1 or 9."""
_NAME = re.compile(r"([FM]\d{3})_(T\d)")
_HEADER_CORNER = "0"


def find_label_files(source: Source) -> dict[tuple[str, str], str]:
    """Return (subject, task) -> path of the label file.

    Raises:
        DataError: There is none, one has a name that BP4D does not know, or two have the same.
    """
    for folder in LABEL_FOLDERS:
        if found := source.files_by(folder, name=lambda path: _sequence_of(path, source=source)):
            return found
    raise DataError(
        f"there is no label file {LABEL_FOLDERS[0]}/<subject>_<task>.csv at {source.uri}",
        "name the folder that holds AUCoding and the subjects' folders",
    )


def parse_labels(data: bytes, *, where: str) -> LabelRows:
    """Return the labels of a sequence's coded segment, in the order of BP4D_UNITS.

    The first row holds 0 and the numbers of the action units, the first column frame numbers.

    Raises:
        DataError: The file is empty, lacks a unit, or holds something that is no label.
    """
    if not data.strip():
        raise DataError(
            f"{where} is empty",
            "copy it again, or remove it: its frames then count as not labelled",
        )
    lines = csv_lines(data, where=where)
    _, header = next(lines)
    columns = _columns(header, where=where)
    rows: LabelRows = {}
    for number, cells in lines:
        here = f"{where} line {number}"
        if len(cells) != len(header):
            raise DataError(
                f"{here} has {len(cells)} cells, its header has {len(header)}",
                "copy the file again from the release",
            )
        frame, labels = _row([cells[0], *(cells[column] for column in columns)], where=here)
        if frame in rows:
            raise DataError(f"{here} repeats frame {frame}", "a frame stands once")
        rows[frame] = labels
    if not rows:
        raise DataError(
            f"{where} has no row below its header",
            "copy it again, or remove it: its frames then count as not labelled",
        )
    return dict(sorted(rows.items()))


def _sequence_of(path: str, *, source: Source) -> tuple[str, str] | None:
    if not path.lower().endswith(".csv"):
        return None
    match = _NAME.fullmatch(PurePosixPath(path).stem)
    if not match or match[1] not in SUBJECTS or match[2] not in TASKS:
        raise DataError(
            f"{source.where(path)} names none of BP4D's {len(SUBJECTS)} subjects and "
            f"{len(TASKS)} tasks",
            "label files are called like F001_T1.csv; the importer folder takes other data",
        )
    return match[1], match[2]


def _columns(header: list[str], *, where: str) -> list[int]:
    if header[0] != _HEADER_CORNER:
        raise DataError(
            f"{where} begins with {header[0]!r}",
            f"its first row holds {_HEADER_CORNER} and the numbers of the action units",
        )
    positions = {cell: column for column, cell in enumerate(header)}
    for unit in BP4D_UNITS:
        if str(unit) not in positions:
            raise DataError(
                f"{where} has no column {unit} for {label_of(unit)}",
                f"columns {', '.join(map(str, BP4D_UNITS))} are needed",
            )
    return [positions[str(unit)] for unit in BP4D_UNITS]


def _row(cells: list[str], *, where: str) -> tuple[int, tuple[int, ...]]:
    if not cells[0].isdecimal():
        raise DataError(f"{where} begins with {cells[0]!r}", "it begins with a frame number")
    known = {"0": 0, "1": 1, "9": NOT_CODED}
    labels = []
    for unit, cell in zip(BP4D_UNITS, cells[1:], strict=True):
        if cell not in known:
            raise DataError(f"{where} has {cell!r} for {label_of(unit)}", "labels are 0, 1 and 9")
        labels.append(known[cell])
    return int(cells[0]), tuple(labels)
