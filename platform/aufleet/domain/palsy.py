"""Facial palsy: the House-Brackmann score (1 to 6) and the four grades of the networks.

Source: the palsy task of the ALGRNet paper: score 1 is normal, 2 is low, 3 and 4 are medium, 5 and
6 are high.
"""

from enum import IntEnum, StrEnum

from aufleet.errors import DataError


class Grade(IntEnum):
    """The class index of a palsy network."""

    NORMAL = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def label(self) -> str:
        """The name that stands in answers and files."""
        return self.name.lower()

    @property
    def house_brackmann(self) -> tuple[int, int]:
        """The lowest and the highest House-Brackmann score of the grade."""
        return _RANGES[self]


_RANGES = {
    Grade.NORMAL: (1, 1),
    Grade.LOW: (2, 2),
    Grade.MEDIUM: (3, 4),
    Grade.HIGH: (5, 6),
}

GRADES = tuple(Grade)
REGION_NAMES = tuple(
    f"{side} {part}"
    for part in ("brow", "upper lid", "nostril wing", "cheek", "mouth corner", "chin")
    for side in ("left", "right")
)
"""The regions of the palsy networks, in their order; left and right are the picture's."""
NOT_GRADED = 9
"""The grade column of a frame without a palsy grade."""


class Side(StrEnum):
    """The affected side, anatomical: the patient's own left or right."""

    NONE = "none"
    LEFT = "left"
    RIGHT = "right"


SIDES = tuple(Side)
"""In the order of the side head's classes."""
MIRRORED_SIDES = (0, 2, 1)
"""Class of a side -> its class in the mirrored frame."""
UNKNOWN_SIDE = 9
"""The class of a frame whose affected side is not known."""


def side_class(name: str) -> int:
    """Return the side head's class of a side as it stands in a data set; "" is not known."""
    return SIDES.index(Side(name)) if name else UNKNOWN_SIDE


def grade_of(house_brackmann: int) -> Grade:
    """Return the grade of a House-Brackmann score.

    Raises:
        DataError: The score is not in 1 to 6.
    """
    for grade, (low, high) in _RANGES.items():
        if low <= house_brackmann <= high:
            return grade
    raise DataError(
        f"House-Brackmann score {house_brackmann} does not exist", "scores run from 1 to 6"
    )
