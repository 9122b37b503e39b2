"""The facial points: 49 for the networks, 68 (iBUG 300-W order) where a source has them.

Points are (x, y) in pixels, x to the right, y down. "Left" is the left side of the picture; in a
picture that is not mirrored it is the subject's right.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating[Any]]

NUM_POINTS = 49
LEFT_EYE = slice(19, 25)
RIGHT_EYE = slice(25, 31)
NOSE_TIP = 13
MOUTH_LEFT, MOUTH_RIGHT = 31, 37
INNER_EYE_LEFT, INNER_EYE_RIGHT = 22, 25

POINTS_49_OF_68: NDArray[np.intp] = np.r_[17:60, 61:64, 65:68]
"""The 49 points are the 68 without the jaw (0 to 16) and the inner mouth corners (60 and 64)."""


def _reversed_run(first: int, last: int) -> list[int]:
    return list(range(last, first - 1, -1))


MIRROR_49: NDArray[np.intp] = np.array(
    [
        *_reversed_run(0, 9),
        *(10, 11, 12, 13),
        *_reversed_run(14, 18),
        *(28, 27, 26, 25, 30, 29, 22, 21, 20, 19, 24, 23),
        *_reversed_run(31, 37),
        *_reversed_run(38, 42),
        *_reversed_run(43, 45),
        *_reversed_run(46, 48),
    ]
)
"""Point k of a mirrored face is the mirrored point MIRROR_49[k] of the face; an involution."""

MIRROR_68: NDArray[np.intp] = np.array(
    [
        *_reversed_run(0, 16),
        *_reversed_run(17, 26),
        *(27, 28, 29, 30),
        *_reversed_run(31, 35),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *_reversed_run(48, 54),
        *_reversed_run(55, 59),
        *_reversed_run(60, 64),
        *_reversed_run(65, 67),
    ]
)


def eye_centres(points: Points) -> tuple[Points, Points]:
    """Return the mean of the six points of each eye, left of the picture first.

    Args:
        points: (..., 49, 2).
    """
    return points[..., LEFT_EYE, :].mean(axis=-2), points[..., RIGHT_EYE, :].mean(axis=-2)


def inter_ocular_distance(points: Points) -> NDArray[np.floating[Any]]:
    """Return the distance between the two eye centres in pixels, shape (...).

    Args:
        points: (..., 49, 2).
    """
    left, right = eye_centres(points)
    return np.linalg.norm(right - left, axis=-1)


def mirror(points: Points, *, width: int) -> Points:
    """Return the points of the picture mirrored left to right.

    Args:
        points: (..., 49, 2) or (..., 68, 2).
        width: Width of the picture in pixels.
    """
    order: Sequence[int] | NDArray[np.intp] = MIRROR_49 if points.shape[-2] == 49 else MIRROR_68
    mirrored = np.array(points[..., order, :])
    mirrored[..., 0] = (width - 1) - mirrored[..., 0]
    return mirrored
