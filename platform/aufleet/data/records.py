"""One row of a data set: an aligned frame and everything that is known of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aufleet.domain.action_units import NOT_CODED
from aufleet.domain.palsy import NOT_GRADED, grade_of
from aufleet.errors import DataError

LandmarkSource = Literal["exact", "release", "mediapipe"]
"""Where the points come from: the renderer, the data set's own files, or our face finder."""

ALIGNED_SIZE = 200
"""Side of an aligned frame in pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameRecord:
    """One aligned frame of a subject with its labels.

    Attributes:
        subject: Who is seen; folds never share a subject.
        sequence: The video or task that the frame belongs to.
        frame: Number of the frame in its sequence.
        jpeg: The aligned 200x200 RGB frame as JPEG.
        landmarks: (49, 2) float32, pixels of the aligned frame.
        landmarks_68: (68, 2) float32 in the same pixels, where the source has them.
        landmark_source: Where the points come from.
        units: For each unit of the data set 0 absent, 1 present, 9 not coded.
        intensities: For each unit 0 to 5; None where the source has none.
        house_brackmann: Score 1 to 6; 0 where the frame was not graded.
        grade: Class 0 to 3 of that score; 9 where the frame was not graded.
        side: The affected side, anatomical: "none", "left", "right"; "" where it is not known.
        exercise: What the subject was asked to do; "" where it is not known.
        crop_240: LP-Net's masked crop, 240x240 RGB as JPEG, black outside the face; None where
            it was not asked for. The eye centres lie at the same two pixels in every crop, level
            and 70 apart, so the landmarks tell the whole geometry and no more is stored:
            `data.crop_240.points_of_crop_240(landmarks, points)` moves the 49 or the 68 points
            from the aligned frame into the crop. A loader that turns a crop turns it about its
            middle (119.5, 119.5), fills with black, and moves these points alike; then it cuts 224
            at offsets 0 to 16 (8 for testing) and subtracts them.
    """

    subject: str
    sequence: str
    frame: int
    jpeg: bytes
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32] | None = None
    landmark_source: LandmarkSource
    units: tuple[int, ...]
    intensities: tuple[int, ...] | None = None
    house_brackmann: int = 0
    grade: int = NOT_GRADED
    side: str = ""
    exercise: str = ""
    crop_240: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse a row that would poison training later.

        Raises:
            DataError: A shape, a point or a label is not what the attributes promise.
        """
        self._check_points("landmarks", self.landmarks, 49)
        if self.landmarks_68 is not None:
            self._check_points("landmarks_68", self.landmarks_68, 68)
        if bad := set(self.units) - {0, 1, NOT_CODED}:
            raise DataError(f"{self.where} has unit label {min(bad)}", "labels are 0, 1 and 9")
        if self.intensities is not None and len(self.intensities) != len(self.units):
            raise DataError(
                f"{self.where} has {len(self.intensities)} intensities for {len(self.units)} units"
            )
        expected = grade_of(self.house_brackmann) if self.house_brackmann else NOT_GRADED
        if self.grade != expected:
            raise DataError(
                f"{self.where} has grade {self.grade}",
                f"House-Brackmann score {self.house_brackmann} gives {int(expected)}",
            )
        if self.side not in ("", "none", "left", "right"):
            raise DataError(f"{self.where} has side {self.side!r}", "it is none, left or right")

    def _check_points(self, name: str, points: NDArray[np.float32], count: int) -> None:
        if points.shape != (count, 2) or not np.isfinite(points).all():
            raise DataError(f"{name} of {self.where} must be {count} finite points (x, y)")

    @property
    def where(self) -> str:
        """Name the frame, for messages."""
        return f"{self.subject}/{self.sequence} frame {self.frame}"
