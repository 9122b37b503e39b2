"""LP-Net's picture: the face alone, 240 x 240, both eyes always at the same two places.

Similarity alignment on the eye centres and everything outside the face black, after the LP-Net
paper; where the eyes lie, and that the mask reaches over the brows as in OpenFace, is our choice.
"""

import numpy as np
from numpy.typing import NDArray

from aufleet.domain.landmarks import Points, eye_centres
from aufleet.errors import FaceError

CROP_240_SIZE = 240
EYE_DISTANCE = 70.0
"""Pixels between the eye centres: an open mouth and the jaw still fit."""
EYE_MIDDLE = (119.5, 79.5)
BROW_MARGINS = (0.15, 0.4, 0.55, 0.6, 0.6, 0.6, 0.6, 0.55, 0.4, 0.15)
"""The mask reaches this many eye distances above each point of the brows: a rounded forehead."""
BROWS_68 = slice(17, 27)

Frame = NDArray[np.uint8]
Floats = NDArray[np.float64]


def crop_240_affine(landmarks: Points) -> Floats:
    """Return the maps (..., 2, 3) that put the eye centres to their places in the crop.

    A map of points of the aligned frame from landmarks there, of the photo from those there: both
    lead to the same crop, because both are similarities.

    Args:
        landmarks: (..., 49, 2).
    """
    left, right = eye_centres(np.asarray(landmarks, dtype=np.float64))
    middle, across = (left + right) / 2, right - left
    square = np.maximum((across**2).sum(axis=-1), np.finfo(np.float64).tiny)
    cos, sin = (EYE_DISTANCE * across[..., axis] / square for axis in (0, 1))
    turn = np.stack([np.stack([cos, sin], axis=-1), np.stack([-sin, cos], axis=-1)], axis=-2)
    shift = np.asarray(EYE_MIDDLE) - (turn @ middle[..., None])[..., 0]
    return np.concatenate([turn, shift[..., None]], axis=-1)


def points_of_crop_240(landmarks: Points, points: Points) -> NDArray[np.float32]:
    """Return points in pixels of the crop.

    Args:
        landmarks: (..., 49, 2) pixels of the aligned frame: they say where the eyes are.
        points: (..., K, 2) pixels of the aligned frame: the 49 again, or the 68.
    """
    affine = crop_240_affine(landmarks)
    turned = np.asarray(points, dtype=np.float64) @ np.swapaxes(affine[..., :2], -1, -2)
    return (turned + affine[..., None, :, 2]).astype(np.float32)


def cut_crop_240(frame: Frame, *, landmarks: Points, outline: Points) -> Frame:
    """Return the masked crop, (240, 240, 3) uint8 RGB, black outside the face.

    Args:
        frame: (H, W, 3) uint8 RGB photo.
        landmarks: (49, 2) pixels of the photo.
        outline: (27, 2) pixels of the photo: jaw and brows, the first 27 of the 68 points.

    Raises:
        FaceError: The outline spans no face.
    """
    import cv2

    affine = crop_240_affine(landmarks)
    size = (CROP_240_SIZE, CROP_240_SIZE)
    crop = cv2.warpAffine(frame, affine, size, flags=cv2.INTER_LINEAR)
    polygon = np.asarray(outline, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]
    polygon[BROWS_68, 1] -= np.multiply(BROW_MARGINS, EYE_DISTANCE)
    if not np.isfinite(polygon).all() or np.abs(polygon).max() > 100 * CROP_240_SIZE:
        raise FaceError("an outline without extent cannot mask a face")
    hull = cv2.convexHull(polygon.round().astype(np.int32))
    mask = np.zeros(size, dtype=np.uint8)
    cv2.fillConvexPoly(mask, hull, 255)
    return np.asarray(cv2.bitwise_and(crop, crop, mask=mask), dtype=np.uint8)
