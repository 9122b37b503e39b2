"""A lab's own data: pictures or videos in any order, and one table of labels (COLUMNS_HELP)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from aufleet.data.importers.contract import Parts, SubjectPlan, Unusable
from aufleet.data.importers.folder_table import (
    COLUMNS_HELP,
    PICTURE_SUFFIXES,
    Entry,
    entries_of,
    parts_of,
    units_of,
)
from aufleet.data.importers.framing import (
    Crop,
    Labels,
    Place,
    frame_picture,
    lost,
    record_of,
)
from aufleet.data.importers.labelled_table import TableImporter
from aufleet.data.importers.labelled_video import (
    VIDEO_SUFFIXES,
    expected_frames,
    read_labelled_video,
)
from aufleet.data.importers.reasons import Reason
from aufleet.data.importers.source import open_source
from aufleet.data.records import FrameRecord

__all__ = ["COLUMNS_HELP", "FolderImporter", "folder"]


class FolderImporter(TableImporter):
    """Reads what a table of labels names."""

    name = "folder"
    units: tuple[int, ...] = ()
    parts: Parts | None = None

    def describe(self) -> str:
        """Return what is read and how."""
        return f"folder {self._source.uri}, labels {self._digest}, crop={self._crop}"

    def plan(self) -> tuple[list[SubjectPlan], list[Unusable]]:
        """Return a plan for each subject; units and parts are known afterwards.

        Raises:
            DataError: The table is missing or wrong; the row is named.
        """
        table = self._read_table(default="labels")
        self.units, self.parts = units_of(table), parts_of(table)
        entries = entries_of(table, units=self.units)
        by_subject: dict[str, list[Entry]] = {}
        for item in entries:
            by_subject.setdefault(item.subject, []).append(item)
        plans = [
            SubjectPlan(
                subject=subject, num_frames=self._expected(items), items=tuple(_sorted(items))
            )
            for subject, items in sorted(by_subject.items())
        ]
        return plans, list(self._unnamed({item.path for item in entries}))

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        """Yield the frames of a subject: the pictures, then the videos."""
        yield from self._read_pictures([item for item in plan.items if not item.is_video])
        videos: dict[str, list[Entry]] = {}
        for item in plan.items:
            if item.is_video:
                videos.setdefault(item.path, []).append(item)
        for path, items in videos.items():
            place = Place(subject=plan.subject, sequence=items[0].sequence, frame=0)
            yield from read_labelled_video(
                self._source, path, place, labels=_labels_of(items), crop=self._crop
            )

    def _read_pictures(self, items: Sequence[Entry]) -> Iterator[FrameRecord | Unusable]:
        wanted = [item.path for item in items if not item.labels.is_blank]
        contents = self._source.read_ahead(wanted)
        for item in items:
            if item.labels.is_blank:
                framed = Reason.NOTHING_CODED
            elif (picture := next(contents)) is None:
                framed = Reason.FILE_MISSING
            else:
                framed = frame_picture(picture, released=None, crop=self._crop)
            place = Place(subject=item.subject, sequence=item.sequence, frame=item.frame or 0)
            yield record_of(framed, place, labels=item.labels)

    def _expected(self, items: Sequence[Entry]) -> int:
        whole = {item.path for item in items if item.is_video and item.frame is None}
        others = sum(item.path not in whole for item in items)
        return others + sum(expected_frames(self._source, path) for path in whole)

    def _unnamed(self, named: set[str]) -> Iterator[Unusable]:
        """Yield the pictures, folder by folder, and the videos that no row names."""
        pictures: Counter[str] = Counter()
        for path in self._source.files():
            if path in named:
                continue
            if path.lower().endswith(VIDEO_SUFFIXES):
                yield lost(Reason.ROW_MISSING, subject="", sequence=path)
            elif path.lower().endswith(PICTURE_SUFFIXES):
                pictures[str(PurePosixPath(path).parent)] += 1
        for parent, count in pictures.items():
            yield lost(Reason.ROW_MISSING, subject="", sequence=parent, count=count)


def _sorted(items: Sequence[Entry]) -> list[Entry]:
    return sorted(items, key=lambda item: (item.sequence, item.frame or 0, item.path))


def _labels_of(items: Sequence[Entry]) -> Labels | dict[int, Labels]:
    by_frame = {item.frame: item.labels for item in items if item.frame is not None}
    return by_frame or items[0].labels


def folder(source: str, *, labels: str = "", crop: Crop = "none") -> FolderImporter:
    """Return the importer of a folder with a table of labels.

    Args:
        source: Folder or `s3://` URI.
        labels: The table's path below the source; "" for labels.csv or labels.parquet.
        crop: "lpnet" adds LP-Net's masked crop.

    Raises:
        ConfigError: An option is wrong.
        DataError: There is no such folder.
    """
    return FolderImporter(open_source(source), labels=labels, crop=crop)
