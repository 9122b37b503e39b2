"""The landmarks of DISFA: `Landmark_Points/<subject>/tmp_frame_lm/<subject>_0000_lm.mat`.

Some subjects' files are called `l00000_lm.mat`; SN031 lacks one in the middle; some folders have
one file more than the video has frames, and then the first belongs to no frame.
"""

import io
import re
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from aufleet.data.importers.source import Source
from aufleet.errors import DataError

LANDMARK_FOLDER = "Landmark_Points"
NUM_RELEASED = 66
_NAME = re.compile(r"(?:SN\d{3}_|l)(\d+)_lm\.mat", re.IGNORECASE)


def find_landmark_files(source: Source, subject: str, *, num_frames: int) -> dict[int, str]:
    """Return frame from 1 -> path of its landmark file; empty where the release has none.

    Args:
        source: The release.
        subject: Whose.
        num_frames: Frames of the subject's video.

    Raises:
        DataError: There are too many files to tell which belongs to which frame, or two of one.
    """
    folder = f"{LANDMARK_FOLDER}/{subject}"
    numbered = source.files_by(folder, name=_number_of)
    if not numbered:
        return {}
    last = max(numbered)
    num_surplus = last + 1 - num_frames
    if num_surplus > 1:
        raise DataError(
            f"{source.where(folder)} has landmarks up to number {last} for {num_frames} frames",
            "copy the folder again, or set landmarks=mediapipe",
        )
    # Numbers are from 0; with one too many the first is dropped and they are from 1.
    shift = 0 if num_surplus == 1 else 1
    return {number + shift: path for number, path in numbered.items() if number + shift >= 1}


def _number_of(path: str) -> int | None:
    match = _NAME.fullmatch(PurePosixPath(path).name)
    return int(match[1]) if match else None


def parse_landmarks(data: bytes) -> NDArray[np.float64] | None:
    """Return the (66, 2) pixels of one frame, None where the file does not hold them."""
    from scipy.io import loadmat

    try:
        points = np.asarray(loadmat(io.BytesIO(data))["pts"], dtype=np.float64)
    except Exception:  # a damaged file fails in as many ways as it has bytes
        return None
    return points if points.shape == (NUM_RELEASED, 2) else None
