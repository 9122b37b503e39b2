"""The landmarks of BP4D: `2DFeatures/<subject>_<task>.mat`, 49 points for each picture."""

import io
import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aufleet.data.importers.source import Source
from aufleet.domain.landmarks import NUM_POINTS
from aufleet.errors import DataError, EnvironmentProblem

LANDMARK_FOLDERS = ("2DFeatures", "BP4D-fpoints")
"""In the release, and in that of the FERA challenge."""
_NAME = re.compile(r"([FM]\d{3})_(T\d)")
_HDF5_MAGIC = b"MATLAB 7.3"
_FIELDS = ("pred", "pts_2d")

Tracks = NDArray[np.float64]


def find_landmark_files(source: Source) -> dict[tuple[str, str], str]:
    """Return (subject, task) -> path of the file with its landmarks; empty without any."""
    found = {}
    for folder in LANDMARK_FOLDERS:
        for path in source.files(folder):
            match = _NAME.search(PurePosixPath(path).name)
            if match and path.lower().endswith(".mat"):
                found.setdefault((match[1], match[2]), path)
    return found


def parse_landmarks(data: bytes, *, where: str) -> Tracks:
    """Return (N, 49, 2) pixels from 0 of N pictures, NaN in the rows where the tracker was lost.

    The points are stored from 1, as MATLAB counts.

    Raises:
        DataError: The file does not hold 49 points for each picture.
        EnvironmentProblem: It is HDF5 and h5py is not installed.
    """
    try:
        cells = _read_hdf5(data, where=where) if data.startswith(_HDF5_MAGIC) else _read_mat(data)
    except EnvironmentProblem:
        raise
    except Exception as error:  # a damaged file fails in as many ways as it has bytes
        raise DataError(
            f"the landmarks in {where} cannot be read ({error})",
            "copy the file again, or set landmarks=mediapipe",
        ) from error
    tracks = np.full((len(cells), NUM_POINTS, 2), np.nan)
    for row, cell in enumerate(cells):
        points = np.asarray(cell, dtype=np.float64)
        if points.shape == (2, NUM_POINTS):
            points = points.T
        if points.shape == (NUM_POINTS, 2) and points.any():
            tracks[row] = points - 1
    return tracks


def _read_mat(data: bytes) -> list[Any]:
    from scipy.io import loadmat

    fit = loadmat(io.BytesIO(data))["fit"]
    field = next((name for name in _FIELDS if name in (fit.dtype.names or ())), None)
    if field is None:
        raise KeyError(f"fit has no field {' or '.join(_FIELDS)}")
    return list(fit[field].ravel())


def _read_hdf5(data: bytes, *, where: str) -> list[Any]:
    try:
        import h5py
    except ImportError as error:
        raise EnvironmentProblem(
            f"{where} is a MATLAB 7.3 file and h5py is not installed",
            "pip install h5py, or set landmarks=mediapipe",
        ) from error
    with h5py.File(io.BytesIO(data), "r") as file:
        tree: Any = file  # h5py's types do not tell groups from arrays
        fit = tree["fit"]
        field = next((name for name in _FIELDS if name in fit), None)
        if field is None:
            raise KeyError(f"fit has no field {' or '.join(_FIELDS)}")
        # One reference to an array for each picture; an empty array is stored as its two sides.
        cells = [np.asarray(tree[reference]) for reference in np.ravel(fit[field])]
    return cells
