"""BP4D: 41 subjects x 8 tasks, pictures one by one, 12 units coded in a segment of each task.

    <subject>/<task>/<frame>.jpg                   also below one of PICTURE_FOLDERS
    AUCoding/AU_OCC/<subject>_<task>.csv           see bp4d_labels
    2DFeatures/<subject>_<task>.mat                see bp4d_landmarks; may be missing

Frame numbers are padded to 1 to 5 digits, as the sequence likes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from aufleet.data.importers.bp4d_labels import (
    SUBJECTS,
    TASKS,
    LabelRows,
    find_label_files,
    parse_labels,
)
from aufleet.data.importers.bp4d_landmarks import Tracks, find_landmark_files, parse_landmarks
from aufleet.data.importers.contract import SubjectPlan, Unusable
from aufleet.data.importers.framing import (
    Crop,
    Labels,
    Place,
    PointsFrom,
    digest_of_labels,
    frame_picture,
    lost,
    record_of,
)
from aufleet.data.importers.reasons import Reason
from aufleet.data.importers.release import ReleaseImporter
from aufleet.data.importers.source import open_source
from aufleet.data.records import FrameRecord
from aufleet.domain.action_units import BP4D_UNITS
from aufleet.domain.folds import BP4D_PARTS
from aufleet.errors import DataError
from aufleet.storage import sha256_of

PICTURE_FOLDERS = ("", "Sequences(2D+3D)", "2D+3D", "Sequences", "BP4D-training")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
LOOSE = "."
"""The task of pictures that lie beside the tasks' folders."""


@dataclass(frozen=True, kw_only=True)
class _Labelled:
    """One sequence with a label file."""

    task: str
    labels: str
    """Path of the label file."""
    sha256: str
    """Of the label file: other labels are another plan."""
    landmarks: str
    """Path of the landmark file, "" without one."""


class Bp4dImporter(ReleaseImporter):
    """Reads BP4D as it is released."""

    name = "bp4d"
    units = BP4D_UNITS
    published_parts = BP4D_PARTS

    def plan(self) -> tuple[list[SubjectPlan], list[Unusable]]:
        """Return a plan for each subject that has labels.

        Raises:
            DataError: There are no labels or no pictures, or a label file is not as BP4D's are.
        """
        files = find_label_files(self._source)
        tracks = find_landmark_files(self._source) if self._landmarks == "release" else {}
        self._present = tuple(sorted({subject for subject, _ in files}))
        folder = self._picture_folder()
        contents = self._source.read_all(list(files.values()))
        self._digest = digest_of_labels(contents)
        plans = []
        for subject in self._present:
            labelled, num_frames = [], 0
            for task in (task for task in TASKS if (subject, task) in files):
                path = files[subject, task]
                data = contents[path]
                num_frames += len(parse_labels(data, where=self._source.where(path)))
                labelled.append(
                    _Labelled(
                        task=task,
                        labels=path,
                        sha256=sha256_of(data),
                        landmarks=tracks.get((subject, task), ""),
                    )
                )
            plans.append(
                SubjectPlan(subject=subject, num_frames=num_frames, items=(folder, *labelled))
            )
        absent = [subject for subject in SUBJECTS if subject not in self._present]
        return plans, [item for subject in absent for item in self._without_labels(subject, folder)]

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        """Yield the frames of a subject, task by task."""
        folder, *labelled = plan.items
        pictures = self._pictures(plan.subject, folder)
        by_task = {item.task: item for item in labelled}
        for task in sorted({*TASKS, *pictures}):
            paths = pictures.get(task, [])
            if task in by_task:
                yield from self._read_sequence(plan.subject, by_task[task], paths)
            else:
                yield _unlabelled(plan.subject, task, paths)

    def _read_sequence(
        self, subject: str, item: _Labelled, paths: list[str]
    ) -> Iterator[FrameRecord | Unusable]:
        data = self._source.read_unchanged(item.labels, sha256=item.sha256)
        rows = parse_labels(data, where=self._source.where(item.labels))
        numbered, odd = _by_number(paths)
        for reason, count in odd.items():
            yield lost(reason, subject=subject, sequence=item.task, count=count)
        for reason, frame, count in _not_readable(rows, numbered):
            yield lost(reason, subject=subject, sequence=item.task, frame=frame, count=count)
        wanted = [
            frame
            for frame, labels in rows.items()
            if frame in numbered and not Labels(units=labels).is_blank
        ]
        tracks = self._tracks(item, numbered)
        contents = self._source.read_ahead([numbered[frame] for frame in wanted])
        for frame, picture in zip(wanted, contents, strict=True):
            framed = (
                Reason.FILE_MISSING
                if picture is None
                else frame_picture(picture, released=tracks.get(frame), crop=self._crop)
            )
            place = Place(subject=subject, sequence=item.task, frame=frame)
            yield record_of(framed, place, labels=Labels(units=rows[frame]))

    def _tracks(self, item: _Labelled, numbered: dict[int, str]) -> dict[int, Tracks]:
        """Return frame -> landmarks, where the file has as many as there are pictures.

        The k-th landmarks belong to the k-th picture; where pictures are missing nobody knows
        which belong together, and MediaPipe looks at every picture.
        """
        if not item.landmarks:
            return {}
        data = self._source.read(item.landmarks)
        tracks = parse_landmarks(data, where=self._source.where(item.landmarks))
        frames = sorted(numbered)
        return dict(zip(frames, tracks, strict=True)) if len(frames) == len(tracks) else {}

    def _picture_folder(self) -> str:
        for folder in PICTURE_FOLDERS:
            if any(self._pictures(subject, folder) for subject in self._present):
                return folder
        raise DataError(
            f"there is no picture <subject>/<task>/<frame>.jpg at {self._source.uri}",
            f"the subjects' folders lie beside AUCoding or in {', '.join(PICTURE_FOLDERS[1:])}",
        )

    def _pictures(self, subject: str, folder: str) -> dict[str, list[str]]:
        """Return task -> paths of its pictures."""
        root = f"{folder}/{subject}" if folder else subject
        found: dict[str, list[str]] = {}
        for path in self._source.files(root):
            # The 3D meshes and textures lie beside the pictures.
            if path.lower().endswith(PICTURE_SUFFIXES):
                task, below, _ = path.removeprefix(f"{root}/").partition("/")
                found.setdefault(task if below else LOOSE, []).append(path)
        return found

    def _without_labels(self, subject: str, folder: str) -> Iterator[Unusable]:
        pictures = self._pictures(subject, folder)
        for task in sorted({*TASKS, *pictures}):
            yield _unlabelled(subject, task, pictures.get(task, []))


def _unlabelled(subject: str, task: str, paths: list[str]) -> Unusable:
    if not paths:
        return lost(Reason.SEQUENCE_MISSING, subject=subject, sequence=task)
    return lost(Reason.LABELS_MISSING, subject=subject, sequence=task, count=len(paths))


def _by_number(paths: Iterable[str]) -> tuple[dict[int, str], dict[Reason, int]]:
    """Return frame -> path, and how many pictures have no number or that of another one."""
    numbered: dict[int, str] = {}
    odd: dict[Reason, int] = {}
    for path in paths:
        stem = PurePosixPath(path).stem
        if not stem.isdecimal():
            odd[Reason.NUMBER_UNREADABLE] = odd.get(Reason.NUMBER_UNREADABLE, 0) + 1
        elif int(stem) in numbered:
            odd[Reason.NUMBER_TWICE] = odd.get(Reason.NUMBER_TWICE, 0) + 1
        else:
            numbered[int(stem)] = path
    return numbered, odd


def _not_readable(
    rows: LabelRows, numbered: dict[int, str]
) -> Iterator[tuple[Reason, int | None, int]]:
    """Yield reason, frame and count of what lacks a picture or a label."""
    if not numbered:
        yield Reason.FILE_MISSING, None, len(rows)
        return
    first, last = min(rows), max(rows)
    outside = [frame for frame in numbered if not first <= frame <= last]
    if outside:
        yield Reason.OUTSIDE_CODED, None, len(outside)
    for frame in sorted({*rows, *numbered}.difference(outside)):
        if frame not in numbered:
            yield Reason.FILE_MISSING, frame, 1
        elif frame not in rows:
            yield Reason.ROW_MISSING, frame, 1
        elif Labels(units=rows[frame]).is_blank:
            yield Reason.NOTHING_CODED, frame, 1


def bp4d(source: str, *, crop: Crop = "none", landmarks: PointsFrom = "release") -> Bp4dImporter:
    """Return the importer of BP4D.

    Args:
        source: Folder or `s3://` URI of the release.
        crop: "lpnet" adds LP-Net's masked crop.
        landmarks: "mediapipe" leaves those of the release aside.

    Raises:
        ConfigError: An option is wrong.
        DataError: There is no such folder.
    """
    return Bp4dImporter(open_source(source), crop=crop, landmarks=landmarks)
