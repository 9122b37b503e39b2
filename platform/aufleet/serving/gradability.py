"""Whether a face may be judged: pose, part of it outside or covered, blur.

The limits were set by `tests/benchmarks/gradability.py`, which turns, blurs, cuts and covers
rendered faces and a real portrait; its table stands in the README beside it. What is told here is
honest only within these bounds:

- Roll is no reason: the alignment turns every face upright.
- What covers a face is seen only where an eye or the mouth has become a plain surface: a mask, a
  bar, dark glasses, a blanked-out part. A hand, hair or a patterned scarf is not seen: the landmark
  model draws a whole face over it.
- An aligned frame tells nothing of pose and surroundings: it is judged for blur alone.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import alignment_of, apply_affine
from aufleet.data.faces import FoundFace
from aufleet.domain.landmarks import LEFT_EYE, RIGHT_EYE, inter_ocular_distance
from aufleet.serving.exchange import Reason, Ungradable

MAX_YAW_DEG = 35.0
"""To either side. Beyond it landmarks are more than 1.6 times as wrong as those of a frontal face,
and one side of the face begins to hide."""
MAX_PITCH_DEG = 35.0
"""Up or down, as MediaPipe fits it, about 5 degrees less than the head is turned."""
MAX_OUTSIDE = 0.10
"""Share of the 68 points that may lie outside the photo: a face cut by an eighth of its width."""
MIN_EYE_DISTANCE_PX = 16.0
"""Between the eye centres in the photo: a face about 35 pixels wide."""
MIN_SHARPNESS = 3.0e-3
"""Of the aligned frame; see `sharpness_of`. A blur whose standard deviation is 5 % of the distance
between the eyes falls below it; noise and JPEG leave it as it is."""
MIN_RELIEF = 0.15
"""Standard deviation of grey in an eye or the mouth, as a share of the whole face's. Faces had 0.35
and more, covered parts 0 to 0.2."""
MIN_CONTRAST = 0.10
"""Standard deviation of grey in such a part over its mean. A part in deep shadow is flat beside the
rest, but not in itself."""

FACE = slice(40, 160)
"""Rows and columns of the aligned frame that every face fills."""
SMOOTHING_PX = 1.0
"""Of the aligned frame: takes the sensor's noise away before edges are measured."""
DARK_LEVEL = 16.0
"""Levels of 255 added to a mean, so that black's own noise is no contrast."""
PART_MARGIN_PX = 4.0
"""Of the aligned frame, around the points of an eye or the mouth."""
PARTS = {"an eye": (LEFT_EYE, RIGHT_EYE), "the mouth": (slice(31, 49),)}

Pixels = NDArray[np.uint8]
Grey = NDArray[np.float32]


def judge_face(face: FoundFace, aligned: Pixels, *, shape: Sequence[int]) -> Ungradable | None:
    """Return why a face of a photo must not be judged, or None.

    Args:
        face: In pixels of the photo.
        aligned: (200, 200, 3) RGB, the face aligned.
        shape: Height and width of the photo.
    """
    return (
        _judge_pose(face)
        or _judge_border(face, shape=shape)
        or _judge_size(face)
        or judge_sharpness(aligned)
        or _judge_covers(face, aligned)
    )


def judge_sharpness(aligned: Pixels) -> Ungradable | None:
    """Return that an aligned frame (200, 200, 3) is too blurred, or None."""
    sharpness = sharpness_of(aligned)
    if sharpness >= MIN_SHARPNESS:
        return None
    return _because(
        "blur",
        f"the face is blurred: sharpness {sharpness * 1e3:.1f}, at least "
        f"{MIN_SHARPNESS * 1e3:g} is needed",
    )


def sharpness_of(aligned: Pixels) -> float:
    """Return the variance of the Laplacian of the lightly smoothed face over its grey's variance.

    A plain variance of the Laplacian tells noise for sharpness and a dark photo for a blurred one;
    0 is a plain surface.
    """
    grey = _grey_of(aligned)[FACE, FACE]
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), SMOOTHING_PX), cv2.CV_32F)
    return _variance_of(np.asarray(edges)) / max(_variance_of(grey), 1.0)


def _variance_of(values: NDArray[Any]) -> float:
    # cv2 takes a tenth of the time that numpy takes.
    return float(cv2.meanStdDev(values)[1][0, 0]) ** 2


def _judge_pose(face: FoundFace) -> Ungradable | None:
    if face.pose_deg is None:
        return None
    yaw, pitch = face.pose_deg
    if abs(yaw) <= MAX_YAW_DEG and abs(pitch) <= MAX_PITCH_DEG:
        return None
    return _because(
        "pose",
        f"the head is turned {abs(yaw):.0f} degrees sideways and {abs(pitch):.0f} up or down: "
        f"at most {MAX_YAW_DEG:g} and {MAX_PITCH_DEG:g} can be judged",
    )


def _judge_border(face: FoundFace, *, shape: Sequence[int]) -> Ungradable | None:
    points, size = face.landmarks_68, (shape[1] - 1, shape[0] - 1)
    share = float(((points < 0) | (points > size)).any(axis=1).mean())
    if share <= MAX_OUTSIDE:
        return None
    return _because(
        "occlusion",
        f"{share:.0%} of the face lie outside the picture: at most {MAX_OUTSIDE:.0%} may",
    )


def _judge_size(face: FoundFace) -> Ungradable | None:
    distance = float(inter_ocular_distance(face.landmarks))
    if distance >= MIN_EYE_DISTANCE_PX:
        return None
    return _because(
        "blur",
        f"the face is too small: {distance:.0f} pixels between the eyes, at least "
        f"{MIN_EYE_DISTANCE_PX:g} are needed",
    )


def _judge_covers(face: FoundFace, aligned: Pixels) -> Ungradable | None:
    grey = _grey_of(aligned)
    points = apply_affine(alignment_of(face.landmarks), face.landmarks)
    whole = max(float(grey[FACE, FACE].std()), 1.0)
    for name, groups in PARTS.items():
        for group in groups:
            part = _part(grey, points[group])
            deviation = float(part.std())
            contrast = deviation / (float(part.mean()) + DARK_LEVEL)
            if deviation / whole < MIN_RELIEF and contrast < MIN_CONTRAST:
                return _because("occlusion", f"{name} is covered: nothing of it can be seen")
    return None


def _part(grey: Grey, points: NDArray[np.float64]) -> Grey:
    last = len(grey) - 1
    left, top = np.clip(points.min(axis=0) - PART_MARGIN_PX, 0, last).astype(int)
    right, bottom = np.clip(points.max(axis=0) + PART_MARGIN_PX, 0, last).astype(int)
    return grey[top : bottom + 1, left : right + 1]


def _grey_of(aligned: Pixels) -> Grey:
    return np.asarray(cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def _because(reason: Reason, message: str) -> Ungradable:
    return Ungradable(reason=reason, message=message)
