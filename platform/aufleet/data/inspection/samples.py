"""Choosing a few frames that show as many different labels as possible, the same ones each time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aufleet.data.partition import SubjectFrames
from aufleet.domain.palsy import NOT_GRADED, Grade

MAX_SAMPLES = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One frame to show.

    Attributes:
        subject: Who.
        sequence: The video or task.
        frame: Its number there.
        jpeg: The aligned frame.
        landmarks: (49, 2) float32, pixels of the frame.
        landmarks_68: (68, 2) float32, None where they are not known.
        labels: The active units ("AU12"), grade, side and exercise.
    """

    subject: str
    sequence: str
    frame: int
    jpeg: bytes
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32] | None
    labels: tuple[str, ...]


def shown_subjects(subjects: Sequence[str]) -> dict[str, int]:
    """Return how many frames of which subjects are shown: evenly spread, MAX_SAMPLES in all."""
    count = min(len(subjects), MAX_SAMPLES)
    places = [int(place) for place in np.linspace(0, len(subjects) - 1, count).round()]
    each, more = divmod(MAX_SAMPLES, count)
    return {subjects[place]: each + (position < more) for position, place in enumerate(places)}


def choose_samples(
    frames: SubjectFrames, *, units: Sequence[str], count: int, seen: set[str]
) -> list[Sample]:
    """Return frames of a subject that show most labels not seen so far; `seen` takes theirs.

    Args:
        frames: The subject's.
        units: Labels of the unit columns, "AU12".
        count: At most this many.
        seen: Labels that other frames show already.
    """
    labels = [_labels_of(frames, row, units=units) for row in range(len(frames))]
    chosen: list[int] = []
    for _ in range(min(count, len(frames))):
        # Ties go to the frame with most labels; then to the one furthest from those chosen.
        row = max(
            (row for row in range(len(frames)) if row not in chosen),
            key=lambda row: (
                len(set(labels[row]) - seen),
                min((abs(row - other) for other in chosen), default=0),
                len(labels[row]),
                -row,
            ),
        )
        chosen.append(row)
        seen.update(labels[row])
    return [_sample(frames, row, labels=labels[row]) for row in sorted(chosen)]


def _labels_of(frames: SubjectFrames, row: int, *, units: Sequence[str]) -> tuple[str, ...]:
    active = [label for label, value in zip(units, frames.units[row], strict=True) if value == 1]
    grade = int(frames.grade[row])
    return (
        *active,
        *([] if grade == NOT_GRADED else [Grade(grade).label]),
        *(f"{side} side" for side in [str(frames.side[row])] if side not in ("", "none")),
        *(exercise for exercise in [str(frames.exercise[row])] if exercise),
    )


def _sample(frames: SubjectFrames, row: int, *, labels: tuple[str, ...]) -> Sample:
    points_68 = frames.landmarks_68[row]
    return Sample(
        subject=frames.subject,
        sequence=str(frames.sequence[row]),
        frame=int(frames.frame[row]),
        jpeg=frames.jpeg[row],
        landmarks=frames.landmarks[row],
        landmarks_68=None if np.isnan(points_68).any() else points_68,
        labels=labels,
    )
