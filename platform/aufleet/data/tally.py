"""What is counted of one subject's frames, so that a manifest needs no frame to be read again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from aufleet.data.manifest import UNGRADED
from aufleet.data.partition import SubjectFrames
from aufleet.data.records import FrameRecord
from aufleet.domain.palsy import NOT_GRADED, Grade


class SubjectTally(BaseModel):
    """One subject's labels, counted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    active: tuple[int, ...]
    """For each unit column the frames in which the unit is active."""
    coded: tuple[int, ...]
    """For each unit column the frames in which it was coded."""
    grades: dict[str, int] = Field(default_factory=dict)
    """Grade or "not graded" -> frames."""
    stratum: str = UNGRADED
    """Worst grade and the side it was seen on, so that each part of a split gets its share."""


def tally_records(records: Sequence[FrameRecord], *, num_units: int) -> SubjectTally:
    """Count the labels of a subject's records."""
    return _tally(
        np.array([record.units for record in records]).reshape(len(records), num_units),
        grades=[int(record.grade) for record in records],
        sides=[str(record.side) for record in records],
    )


def tally_frames(frames: SubjectFrames) -> SubjectTally:
    """Count the labels of a partition that was read back."""
    return _tally(frames.units, grades=frames.grade.tolist(), sides=frames.side.tolist())


def _tally(units: ArrayLike, *, grades: Sequence[int], sides: Sequence[str]) -> SubjectTally:
    labels = np.asarray(units)
    names = [_grade_label(grade) for grade in grades]
    # The first side in the alphabet where the worst grade was seen on several: frames come in
    # any order, and the split must not depend on it.
    worst = max((grade for grade in grades if grade != NOT_GRADED), default=None)
    seen = sorted(side for grade, side in zip(grades, sides, strict=True) if grade == worst)
    return SubjectTally(
        active=tuple((labels == 1).sum(axis=0).tolist()),
        coded=tuple(np.isin(labels, (0, 1)).sum(axis=0).tolist()),
        grades={name: names.count(name) for name in sorted(set(names))},
        stratum=UNGRADED if worst is None else f"{_grade_label(worst)} {seen[0]}",
    )


def _grade_label(grade: int) -> str:
    return UNGRADED if grade == NOT_GRADED else Grade(grade).label
