"""DISFA: 27 subjects, one video each, 12 units coded with intensities in every frame.

    Videos_LeftCamera/LeftVideoSN001_comp.avi      the left camera, as in all papers
    ActionUnit_Labels/SN001/SN001_au1.txt          see disfa_labels
    Landmark_Points/SN001/tmp_frame_lm/            see disfa_landmarks; may be missing

All 12 units are stored; the papers' protocol takes 8 of them (`action_units.DISFA_UNITS`). Frames
whose landmarks are known to have failed are left out, as the papers' lists do.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from aufleet.data.importers.contract import SubjectPlan, Unusable
from aufleet.data.importers.disfa_labels import (
    SUBJECTS,
    Intensities,
    find_label_files,
    join_intensities,
    parse_intensities,
    units_of,
)
from aufleet.data.importers.disfa_landmarks import find_landmark_files, parse_landmarks
from aufleet.data.importers.framing import (
    Crop,
    Labels,
    Place,
    PointsFrom,
    digest_of_labels,
    frame_photo,
    lost,
    record_of,
)
from aufleet.data.importers.reasons import Reason
from aufleet.data.importers.release import ReleaseImporter
from aufleet.data.importers.source import open_source
from aufleet.data.importers.video import count_frames, read_video
from aufleet.data.records import FrameRecord
from aufleet.domain.disfa import CODED_UNITS, has_failed_landmarks
from aufleet.domain.folds import DISFA_PARTS
from aufleet.errors import DataError, FrameError
from aufleet.storage import sha256_of

VIDEO_FOLDERS = ("Videos_LeftCamera", "Video_LeftCamera")
CAMERA = "left"
"""The name of each subject's one sequence."""
_VIDEO = re.compile(r"LeftVideo(SN\d{3})(?:_comp)?\.(?:avi|mp4)", re.IGNORECASE)

Found = NDArray[np.float64] | None


class DisfaImporter(ReleaseImporter):
    """Reads DISFA as it is released."""

    name = "disfa"
    units = CODED_UNITS
    published_parts = DISFA_PARTS

    def plan(self) -> tuple[list[SubjectPlan], list[Unusable]]:
        """Return a plan for each subject that has labels; its items are the video, then the labels.

        Raises:
            DataError: There are no labels or no videos, or a label file is not as DISFA's are.
        """
        files = find_label_files(self._source)
        videos = self._videos()
        self._present = tuple(files)
        contents = self._source.read_all(
            [by_unit[unit] for by_unit in files.values() for unit in CODED_UNITS]
        )
        self._digest = digest_of_labels(contents)
        plans = []
        for subject, by_unit in files.items():
            paths = [by_unit[unit] for unit in CODED_UNITS]
            rows = self._join([contents[path] for path in paths], paths)
            labels = [(path, sha256_of(contents[path])) for path in paths]
            items = (videos.get(subject, ""), *labels)
            plans.append(SubjectPlan(subject=subject, num_frames=len(rows), items=items))
        return plans, [
            lost(
                Reason.LABELS_MISSING if subject in videos else Reason.SEQUENCE_MISSING,
                subject=subject,
                sequence=CAMERA,
            )
            for subject in sorted({*SUBJECTS, *videos}.difference(files))
        ]

    def read(self, plan: SubjectPlan) -> Iterator[FrameRecord | Unusable]:
        """Yield the frames of a subject; they are numbered from 1, as the labels are."""
        video, *labels = plan.items
        contents = [self._source.read_unchanged(path, sha256=sha256) for path, sha256 in labels]
        rows = self._join(contents, [path for path, _ in labels])
        if not video:
            yield lost(Reason.VIDEO_MISSING, subject=plan.subject, sequence=CAMERA, count=len(rows))
            return
        with self._source.local_copy(video) as path:
            try:
                num_frames = count_frames(path)
            except FrameError:
                yield lost(
                    Reason.VIDEO_UNREADABLE, subject=plan.subject, sequence=CAMERA, count=len(rows)
                )
                return
            yield from self._read_video(path, plan.subject, rows, num_frames=num_frames)

    def _read_video(
        self, path: Path, subject: str, rows: Intensities, *, num_frames: int
    ) -> Iterator[FrameRecord | Unusable]:
        failed = [frame for frame in rows if has_failed_landmarks(subject, frame)]
        wanted = sorted({*rows}.difference(failed))
        points = self._points(subject, wanted, num_frames=num_frames or max(rows))
        num_seen, due = 0, set(wanted)
        for item in read_video(path, skip=lambda number: number + 1 not in due):
            num_seen = item.number + item.count
            here = [frame for frame in range(item.number + 1, num_seen + 1) if frame in due]
            if item.count > 1:
                yield from _run(item.reason, subject, len(here))
                continue
            for frame in here:
                released = next(points)
                framed = (
                    item.reason
                    if item.frame is None
                    else frame_photo(item.frame, released=released, crop=self._crop)
                )
                place = Place(subject=subject, sequence=CAMERA, frame=frame)
                levels = rows[frame]
                labels = Labels(units=units_of(levels), intensities=levels)
                yield record_of(framed, place, labels=labels)
        num_seen = max(num_seen, num_frames)
        beyond = sum(frame > num_seen for frame in rows)
        yield from _run(Reason.BEYOND_END, subject, beyond)
        yield from _run(
            Reason.FAILED_LANDMARKS, subject, sum(frame <= num_seen for frame in failed)
        )
        yield from _run(Reason.ROW_MISSING, subject, num_seen - (len(rows) - beyond))

    def _points(self, subject: str, wanted: Sequence[int], *, num_frames: int) -> Iterator[Found]:
        """Yield the release's points of each wanted frame, None where it has none."""
        files: dict[int, str] = {}
        if self._landmarks == "release":
            files = find_landmark_files(self._source, subject, num_frames=num_frames)
        contents = self._source.read_ahead([files[frame] for frame in wanted if frame in files])
        for frame in wanted:
            data = next(contents) if frame in files else None
            yield None if data is None else parse_landmarks(data)

    def _videos(self) -> dict[str, str]:
        """Return subject -> path of its video."""
        for folder in VIDEO_FOLDERS:
            if found := self._source.files_by(folder, name=_subject_of):
                return found
        raise DataError(
            f"there is no video {VIDEO_FOLDERS[0]}/LeftVideoSN001_comp.avi at {self._source.uri}",
            "copy the videos of the left camera from the release",
        )

    def _join(self, contents: Sequence[bytes], paths: Sequence[str]) -> Intensities:
        return join_intensities(
            {
                unit: parse_intensities(data, unit=unit, where=self._source.where(path))
                for unit, data, path in zip(CODED_UNITS, contents, paths, strict=True)
            }
        )


def _subject_of(path: str) -> str | None:
    match = _VIDEO.fullmatch(PurePosixPath(path).name)
    return match[1].upper() if match else None


def _run(reason: Reason, subject: str, count: int) -> Iterator[Unusable]:
    if count > 0:
        yield lost(reason, subject=subject, sequence=CAMERA, count=count)


def disfa(source: str, *, crop: Crop = "none", landmarks: PointsFrom = "release") -> DisfaImporter:
    """Return the importer of DISFA.

    Args:
        source: Folder or `s3://` URI of the release.
        crop: "lpnet" adds LP-Net's masked crop.
        landmarks: "mediapipe" leaves those of the release aside.

    Raises:
        ConfigError: An option is wrong.
        DataError: There is no such folder.
    """
    return DisfaImporter(open_source(source), crop=crop, landmarks=landmarks)
