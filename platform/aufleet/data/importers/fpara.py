"""FPara: videos of facial palsy examinations, graded by House and Brackmann.

    examinations.csv     or .parquet, see COLUMNS
    <videos>             anywhere below, as the table names them

The release is private and its table is not described anywhere: the columns are ours.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aufleet.data.importers.cells import (
    check_columns,
    path_of,
    score_of,
    sequence_of,
    side_of,
    subject_of,
)
from aufleet.data.importers.contract import Parts, SubjectPlan, Unusable
from aufleet.data.importers.framing import Crop, Labels, Place, lost
from aufleet.data.importers.labelled_table import TableImporter
from aufleet.data.importers.labelled_video import (
    VIDEO_SUFFIXES,
    expected_frames,
    read_labelled_video,
)
from aufleet.data.importers.reasons import Reason
from aufleet.data.importers.source import open_source
from aufleet.data.importers.tables import Row
from aufleet.data.records import FrameRecord
from aufleet.errors import DataError

COLUMNS = ("subject", "video", "house_brackmann", "side", "exercise", "sequence")
REQUIRED = COLUMNS[:3]
COLUMNS_HELP = """\
One row for each examination, in examinations.csv or examinations.parquet:
  subject          who is seen: letters, digits, dot, dash and underscore
  video            path of the video below SOURCE
  house_brackmann  1 to 6, or I to VI
  side             optional: affected side, the patient's own: left, right or none
  exercise         optional: what the patient was asked to do
  sequence         optional: name of the examination; the video's path where it is missing
Other columns are ignored."""


@dataclass(frozen=True, kw_only=True)
class _Examination:
    """One video with its grade."""

    video: str
    sequence: str
    labels: Labels


class FparaImporter(TableImporter):
    """Reads a folder of graded examinations."""

    name = "fpara"
    units: tuple[int, ...] = ()
    parts: Parts | None = None
    """None: split by subject, balanced by grade."""

    def describe(self) -> str:
        """Return what is read and how."""
        return f"fpara from {self._source.uri}, labels {self._digest}, crop={self._crop}"

    def plan(self) -> tuple[list[SubjectPlan], list[Unusable]]:
        """Return a plan for each subject.

        Raises:
            DataError: The table is missing or wrong; the row is named.
        """
        table = self._read_table(default="examinations")
        check_columns(table, known=COLUMNS)
        table.require(*REQUIRED, known=COLUMNS)
        by_subject: dict[str, list[_Examination]] = {}
        for row in table.rows:
            by_subject.setdefault(subject_of(row), []).append(_examination(row))
        _refuse_twice(by_subject, where=table.where)
        plans = [
            SubjectPlan(
                subject=subject,
                num_frames=sum(expected_frames(self._source, item.video) for item in items),
                items=tuple(items),
            )
            for subject, items in sorted(by_subject.items())
        ]
        named = {item.video for items in by_subject.values() for item in items}
        return plans, [
            lost(Reason.ROW_MISSING, subject="", sequence=video)
            for video in self._source.files()
            if video.lower().endswith(VIDEO_SUFFIXES) and video not in named
        ]

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        """Yield the frames of a subject's examinations."""
        for item in plan.items:
            place = Place(subject=plan.subject, sequence=item.sequence, frame=0)
            yield from read_labelled_video(
                self._source, item.video, place, labels=item.labels, crop=self._crop
            )


def _examination(row: Row) -> _Examination:
    score = score_of(row)
    if not score:
        raise DataError(f"{row.where} has no house_brackmann", "grade the examination, 1 to 6")
    video = path_of(row, "video", suffixes=VIDEO_SUFFIXES)
    return _Examination(
        video=video,
        sequence=sequence_of(row, video),
        labels=Labels(house_brackmann=score, side=side_of(row), exercise=row.text("exercise")),
    )


def _refuse_twice(by_subject: dict[str, list[_Examination]], *, where: str) -> None:
    every = [item for items in by_subject.values() for item in items]
    for video, count in Counter(item.video for item in every).items():
        if count > 1:
            raise DataError(f"{where} names {video} twice", "a video is one examination")
    for subject, items in by_subject.items():
        for sequence, count in Counter(item.sequence for item in items).items():
            if count > 1:
                raise DataError(
                    f"{where} calls two examinations of {subject} {sequence}",
                    "give each its own name in a column sequence",
                )


def fpara(source: str, *, labels: str = "", crop: Crop = "none") -> FparaImporter:
    """Return the importer of FPara.

    Args:
        source: Folder or `s3://` URI of the examinations.
        labels: The table's path below the source; "" for examinations.csv or .parquet.
        crop: "lpnet" adds LP-Net's masked crop.

    Raises:
        ConfigError: An option is wrong.
        DataError: There is no such folder.
    """
    return FparaImporter(open_source(source), labels=labels, crop=crop)
