"""The label files of DISFA: `ActionUnit_Labels/<subject>/<subject>_au<unit>.txt`."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from aufleet.data.importers.source import Source
from aufleet.domain.action_units import NOT_CODED, label_of
from aufleet.domain.disfa import CODED_UNITS, POSITIVE_INTENSITY
from aufleet.domain.folds import DISFA_PARTS
from aufleet.errors import DataError

LABEL_FOLDER = "ActionUnit_Labels"
SUBJECTS = tuple(sorted(subject for part in DISFA_PARTS for subject in part))
NOT_KNOWN = -1
"""The intensity of a unit whose row is missing."""
MAX_INTENSITY = 5

Intensities = dict[int, tuple[int, ...]]
"""Frame number from 1 -> intensity of each of the 12 units, -1 where its row is missing."""
_NAME = re.compile(r"(SN\d{3})_au(\d+)\.txt", re.IGNORECASE)


def find_label_files(source: Source) -> dict[str, dict[int, str]]:
    """Return subject -> unit -> path of the label file.

    Raises:
        DataError: There is none, a subject lacks that of a unit, has it twice, or is none of
            DISFA's.
    """
    found: dict[str, dict[int, str]] = {}
    for (subject, unit), path in source.files_by(LABEL_FOLDER, name=_subject_and_unit).items():
        found.setdefault(subject, {})[unit] = path
    if not found:
        raise DataError(
            f"there is no label file {LABEL_FOLDER}/SN001/SN001_au1.txt at {source.uri}",
            f"name the folder that holds {LABEL_FOLDER} and Videos_LeftCamera",
        )
    for subject, files in found.items():
        if subject not in SUBJECTS:
            raise DataError(
                f"{source.where(LABEL_FOLDER)} has labels of {subject}, none of DISFA's "
                f"{len(SUBJECTS)} subjects",
                "remove them; the importer folder takes other data",
            )
        if lacking := [unit for unit in CODED_UNITS if unit not in files]:
            raise DataError(
                f"{source.where(LABEL_FOLDER)} has no {subject}_au{lacking[0]}.txt of {subject}",
                "copy it from the release; all 12 units are stored",
            )
    return dict(sorted(found.items()))


def _subject_and_unit(path: str) -> tuple[str, int] | None:
    match = _NAME.fullmatch(PurePosixPath(path).name)
    return (match[1].upper(), int(match[2])) if match else None


def join_intensities(columns: Mapping[int, Mapping[int, int]]) -> Intensities:
    """Return one row for each frame that any of the 12 units has.

    Args:
        columns: Unit -> frame -> intensity.
    """
    frames = sorted({frame for column in columns.values() for frame in column})
    return {
        frame: tuple(columns[unit].get(frame, NOT_KNOWN) for unit in CODED_UNITS)
        for frame in frames
    }


def units_of(intensities: tuple[int, ...]) -> tuple[int, ...]:
    """Return the labels 0, 1 and 9 of a frame's intensities."""
    return tuple(
        NOT_CODED if level == NOT_KNOWN else int(level >= POSITIVE_INTENSITY)
        for level in intensities
    )


def parse_intensities(data: bytes, *, unit: int, where: str) -> dict[int, int]:
    """Return frame -> intensity from lines "frame,intensity", frames from 1.

    Raises:
        DataError: The file is empty, repeats a frame, or holds something else.
    """
    rows: dict[int, int] = {}
    for number, line in enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        here = f"{where} line {number}"
        frame, intensity = _row(line, unit=unit, where=here)
        if frame in rows:
            raise DataError(f"{here} repeats frame {frame}", "a frame stands once")
        rows[frame] = intensity
    if not rows:
        raise DataError(f"{where} is empty", "copy it again from the release")
    return rows


def _row(line: str, *, unit: int, where: str) -> tuple[int, int]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 2 or not all(cell.isdecimal() for cell in cells) or int(cells[0]) < 1:
        raise DataError(f"{where} is {line.strip()!r}", "a line is frame,intensity, frames from 1")
    if int(cells[1]) > MAX_INTENSITY:
        raise DataError(
            f"{where} has intensity {cells[1]} for {label_of(unit)}",
            f"intensities are 0 to {MAX_INTENSITY}",
        )
    return int(cells[0]), int(cells[1])
