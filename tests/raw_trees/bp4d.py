"""Small trees in the format of BP4D, with its quirks."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from raw_trees.faces import photo, write
from scipy.io import savemat

from aufleet.domain.action_units import BP4D_UNITS
from aufleet.domain.folds import BP4D_PARTS

SUBJECTS = tuple(sorted(subject for part in BP4D_PARTS for subject in part))
TASKS = tuple(f"T{number}" for number in range(1, 9))
CODED_COLUMNS = (
    1,
    2,
    4,
    5,
    6,
    7,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    22,
    23,
    24,
    27,
    28,
)
"""The header names more units than the protocol uses."""


def write_bp4d(
    root: Path,
    *,
    subjects: Sequence[str] = SUBJECTS,
    tasks: Sequence[str] = ("T1",),
    frames: int = 1,
    folder: str = "",
    landmarks: bool = False,
) -> int:
    """Write `frames` labelled frames of each task and return how many there are.

    Numbers begin anywhere and are padded to 1 to 5 digits, another width in each sequence.

    Args:
        root: Where to.
        subjects: Whose.
        tasks: Of each subject.
        frames: Of each task.
        folder: What the subjects' folders lie in.
        landmarks: Write 2DFeatures too.
    """
    count = 0
    for person, subject in enumerate(subjects):
        for place, task in enumerate(tasks):
            width = 1 + (person + place) % 5
            first = 10 ** (width - 1) + place
            numbers = range(first, first + frames)
            for step, number in enumerate(numbers):
                write(
                    root / folder / subject / task / f"{number:0{width}d}.jpg",
                    photo(person, step=step).jpeg,
                )
            write(label_file(root, subject, task), label_text(numbers))
            if landmarks:
                write_landmarks(root, subject, task, count=frames, person=person)
            count += frames
    return count


def label_file(root: Path, subject: str, task: str) -> Path:
    return root / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv"


def label_text(numbers: Sequence[int]) -> str:
    """The codes of a segment: AU12 in each even frame, AU1 in each third, AU17 never coded."""
    lines = [",".join(map(str, (0, *CODED_COLUMNS)))]
    for number in numbers:
        lines.append(",".join(str(code) for code in (number, *codes_of(number, CODED_COLUMNS))))
    return "\r\n".join(lines) + "\r\n"


def codes_of(number: int, units: Sequence[int] = BP4D_UNITS) -> tuple[int, ...]:
    codes = {12: int(number % 2 == 0), 1: int(number % 3 == 0), 17: 9}
    return tuple(codes.get(unit, 0 if unit in BP4D_UNITS else 9) for unit in units)


def write_landmarks(root: Path, subject: str, task: str, *, count: int, person: int) -> Path:
    """Write 49 points for each picture, counted from 1; point 48 tells which picture: step px."""
    points = np.empty(count, dtype=[("pred", object), ("pose", object)])
    for step in range(count):
        shape = photo(person, step=step).landmarks.astype(np.float64) + 1
        shape[48, 1] += step
        points[step] = (shape, np.zeros(3))
    content = io.BytesIO()
    savemat(content, {"fit": points.reshape(1, -1)})
    return write(root / "2DFeatures" / f"{subject}_{task}.mat", content.getvalue())
