"""Frames without the face, to show that nothing else tells what the face is asked for.

What is covered is the same in every aligned frame: a mask along the face's own outline would give
away its shape.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from aufleet.data.decoding import decode_frame
from aufleet.data.records import ALIGNED_SIZE

GREY = 128
_QUALITY = 95
_CENTRE, _AXES, _POWER = (99.5, 104.0), (84.0, 106.0), 3
"""Of the rounded shape over all aligned faces, also turned ones, with forehead and jaw: middle
(x, y) and half the width and the height in pixels; the power 2 would be an ellipse."""


def blank_face(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return copies of aligned frames in which grey covers where faces are.

    Args:
        frames: (..., 200, 200, C).
    """
    blank = frames.copy()
    blank[..., face_mask(), :] = GREY
    return blank


def blank_jpeg(jpeg: bytes) -> bytes:
    """Return the JPEG of an aligned frame without its face.

    Raises:
        FrameError: It cannot be decoded.
    """
    bgr = cv2.cvtColor(blank_face(decode_frame(jpeg)), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return data.tobytes()


@cache
def face_mask() -> NDArray[np.bool_]:
    """Return where faces lie in aligned frames, (200, 200)."""
    rows, columns = np.mgrid[:ALIGNED_SIZE, :ALIGNED_SIZE]
    across = np.abs(columns - _CENTRE[0]) / _AXES[0]
    down = np.abs(rows - _CENTRE[1]) / _AXES[1]
    mask = across**_POWER + down**_POWER <= 1
    mask.flags.writeable = False
    return mask
