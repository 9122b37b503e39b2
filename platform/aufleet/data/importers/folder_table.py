"""The table of a lab's own data: what each picture or video shows, and who."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from aufleet.data.importers.cells import (
    check_columns,
    path_of,
    score_of,
    sequence_of,
    side_of,
    subject_of,
)
from aufleet.data.importers.contract import Parts
from aufleet.data.importers.framing import Labels
from aufleet.data.importers.labelled_video import VIDEO_SUFFIXES
from aufleet.data.importers.tables import Row, Table
from aufleet.domain.action_units import NOT_CODED, label_of
from aufleet.domain.disfa import POSITIVE_INTENSITY
from aufleet.domain.folds import NUM_FOLDS
from aufleet.errors import DataError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_INTENSITY = 5
MAX_FRAME = 10**9
NOT_KNOWN = -1
COLUMNS = (
    "subject",
    "image",
    "video",
    "sequence",
    "frame",
    "house_brackmann",
    "side",
    "exercise",
    "part",
)
COLUMNS_HELP = """\
One row for each picture, video or frame of a video, in labels.csv or labels.parquet:
  subject          who is seen: letters, digits, dot, dash and underscore
  image or video   path of the picture (JPEG, PNG) or video below SOURCE
  AU1, AU2, ...    0 absent, 1 present, 9 or empty not coded
  AU1_intensity    optional: 0 to 5; without AU1 a unit is present from 2 on
  house_brackmann  optional: 1 to 6, or I to VI
  side             optional: affected side, the patient's own: left, right or none
  exercise         optional: what the subject was asked to do
  frame            of a video, from 0: the row labels this frame only; of a picture: its number
  sequence         optional: frames that belong together; otherwise the picture's folder or the
                   video's path
  part             optional: 1, 2 or 3, the same in all rows of a subject: the folds are given;
                   otherwise they are made by subject
Other columns are ignored. Units or house_brackmann are needed."""

_UNIT = re.compile(r"AU(\d{1,2})")
_INTENSITY = re.compile(r"AU(\d{1,2})_intensity")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a row says."""

    where: str
    subject: str
    path: str
    sequence: str
    frame: int | None
    """None: a whole video, or a picture that is numbered by its place."""
    labels: Labels

    @property
    def is_video(self) -> bool:
        """Whether it names a video."""
        return self.path.lower().endswith(VIDEO_SUFFIXES)


def units_of(table: Table) -> tuple[int, ...]:
    """Return the units of a table's columns, in order.

    Raises:
        DataError: There is neither a unit nor a grade, or a column is misspelt.
    """
    found: dict[int, str] = {}
    known: set[str] = set(COLUMNS)
    for column in table.columns:
        match = _UNIT.fullmatch(column) or _INTENSITY.fullmatch(column)
        if match:
            found.setdefault(int(match[1]), column)
            known.add(column)
    others = tuple(column for column in table.columns if column not in known)
    check_columns(Table(where=table.where, columns=others, rows=()), known=COLUMNS)
    if wrong := [column for column in others if re.match(r"(?i)au[ _-]?0*\d", column)]:
        raise DataError(
            f"{table.where} has a column {wrong[0]!r}", "units are called AU1 and AU1_intensity"
        )
    if not found and "house_brackmann" not in table.columns:
        raise DataError(
            f"{table.where} has no column of labels, only {', '.join(table.columns)}",
            "add AU1, AU2, ... or house_brackmann",
        )
    return tuple(sorted(found))


def entries_of(table: Table, *, units: tuple[int, ...]) -> list[Entry]:
    """Return what the rows say, with the number of every picture.

    Raises:
        DataError: A column lacks, or a cell is wrong; the row is named.
    """
    table.require("subject", known=COLUMNS)
    if not {"image", "video"} & set(table.columns):
        table.require("image", known=COLUMNS)
    entries = list(_numbered([_entry(row, table=table, units=units) for row in table.rows]))
    keys = Counter((item.subject, item.sequence, item.frame) for item in entries)
    for item in entries:
        if keys[item.subject, item.sequence, item.frame] > 1:
            frame = "" if item.frame is None else f" frame {item.frame}"
            raise DataError(
                f"{item.where} repeats {item.subject}/{item.sequence}{frame}",
                "name sequences and frames apart, or remove the row",
            )
    _check_videos(entries)
    return entries


def parts_of(table: Table) -> Parts | None:
    """Return the three parts where the table gives them.

    Raises:
        DataError: A subject lacks a part or stands in two, or a part is empty.
    """
    if "part" not in table.columns:
        return None
    chosen: dict[str, int] = {}
    for row in table.rows:
        row.required("part")
        part = row.whole("part", low=1, high=NUM_FOLDS) or 0
        subject = subject_of(row)
        if chosen.setdefault(subject, part) != part:
            raise DataError(
                f"{row.where} puts {subject} into part {part} and another into {chosen[subject]}",
                "a subject belongs to one part",
            )
    parts = [
        tuple(sorted(subject for subject, part in chosen.items() if part == number))
        for number in range(1, NUM_FOLDS + 1)
    ]
    for number, part in enumerate(parts, start=1):
        if not part:
            raise DataError(f"{table.where} has no subject in part {number}", "fill all three")
    return tuple(parts)


def _entry(row: Row, *, table: Table, units: tuple[int, ...]) -> Entry:
    image, video = row.text("image"), row.text("video")
    if bool(image) == bool(video):
        raise DataError(
            f"{row.where} names {'both' if image else 'neither'} image and video",
            "a row is of one picture or of one video",
        )
    if image:
        path = path_of(row, "image", suffixes=PICTURE_SUFFIXES)
        sequence = row.text("sequence") or str(PurePosixPath(path).parent)
    else:
        path = path_of(row, "video", suffixes=VIDEO_SUFFIXES)
        sequence = sequence_of(row, path)
    return Entry(
        where=row.where,
        subject=subject_of(row),
        path=path,
        sequence=sequence,
        frame=row.whole("frame", low=0, high=MAX_FRAME),
        labels=_labels(row, table=table, units=units),
    )


def _labels(row: Row, *, table: Table, units: tuple[int, ...]) -> Labels:
    levels = [row.whole(f"{label_of(unit)}_intensity", low=0, high=MAX_INTENSITY) for unit in units]
    has_levels = any(_INTENSITY.fullmatch(column) for column in table.columns)
    return Labels(
        units=tuple(
            _label(row, label_of(unit), level) for unit, level in zip(units, levels, strict=True)
        ),
        intensities=(
            tuple(NOT_KNOWN if level is None else level for level in levels) if has_levels else None
        ),
        house_brackmann=score_of(row),
        side=side_of(row),
        exercise=row.text("exercise"),
    )


def _label(row: Row, column: str, level: int | None) -> int:
    value = row.text(column)
    if not value:
        return NOT_CODED if level is None else int(level >= POSITIVE_INTENSITY)
    if value not in ("0", "1", "9"):
        raise DataError(f"{row.where} has {column} {value!r}", "labels are 0, 1 and 9")
    return int(value)


def _numbered(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Number the pictures of a sequence that have no frame by their place in it."""
    seen: Counter[tuple[str, str]] = Counter()
    for item in entries:
        if item.is_video or item.frame is not None:
            yield item
            continue
        key = (item.subject, item.sequence)
        yield replace(item, frame=seen[key])
        seen[key] += 1


def _check_videos(entries: Sequence[Entry]) -> None:
    """Refuse a video whose rows speak of different people, or of all frames and of some."""
    first: dict[str, Entry] = {}
    for item in entries:
        if not item.is_video:
            continue
        other = first.setdefault(item.path, item)
        same = (other.subject, other.sequence) == (item.subject, item.sequence)
        if not same or (other.frame is None) != (item.frame is None):
            raise DataError(
                f"{item.where} and {other.where.rpartition('/')[2]} disagree about {item.path}",
                "a video is of one subject and sequence, labelled whole or frame by frame",
            )
