"""From a photo to what a record holds of it: aligned frame, landmarks, and LP-Net's crop."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import align, alignment_of, apply_affine
from aufleet.data.crop_240 import cut_crop_240
from aufleet.data.decoding import decode_frame
from aufleet.data.faces import FaceFinder
from aufleet.data.importers.contract import Unusable
from aufleet.data.importers.reasons import Reason
from aufleet.data.records import FrameRecord, LandmarkSource
from aufleet.domain.action_units import NOT_CODED
from aufleet.domain.landmarks import NUM_POINTS, POINTS_49_OF_68
from aufleet.domain.palsy import NOT_GRADED, grade_of
from aufleet.errors import ConfigError, FaceError, FrameError
from aufleet.storage import sha256_of

CROPS = ("none", "lpnet")
Crop = Literal["none", "lpnet"]
"""Beside the aligned frame nothing, or LP-Net's masked crop."""
POINTS = ("release", "mediapipe")
PointsFrom = Literal["release", "mediapipe"]
"""The release's landmarks where it has them, or MediaPipe's for every frame."""
Photo = NDArray[np.uint8]
Points = NDArray[np.float64]

JPEG_QUALITY = 95
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_OUTLINE = slice(0, 27)
_NUM_DISFA_POINTS = 66


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """The points of a face in pixels of its photo.

    Attributes:
        landmarks: (49, 2) float.
        landmarks_68: (68, 2) float, where they are known.
        outline: (27, 2) float, jaw and brows, where they are known.
        source: Where the points come from.
    """

    landmarks: NDArray[np.floating]
    landmarks_68: NDArray[np.floating] | None
    outline: NDArray[np.floating] | None
    source: LandmarkSource


@dataclass(frozen=True, kw_only=True, eq=False)
class Framed:
    """What a record holds of a photo; the attributes are those of FrameRecord."""

    jpeg: bytes
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32] | None
    landmark_source: LandmarkSource
    crop_240: bytes | None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a source says of a frame; the attributes are those of FrameRecord."""

    units: tuple[int, ...] = ()
    intensities: tuple[int, ...] | None = None
    house_brackmann: int = 0
    side: str = ""
    exercise: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether no unit is coded and no grade given: there is nothing to learn from."""
        return not self.house_brackmann and set(self.units) <= {NOT_CODED}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which frame: subject, sequence and number."""

    subject: str
    sequence: str
    frame: int


def check_choice(name: str, value: str, *, choices: tuple[str, ...]) -> None:
    """Refuse the value of an option that there is not.

    Raises:
        ConfigError: It is not one of the choices.
    """
    if value not in choices:
        raise ConfigError(f"{name} cannot be {value!r}", f"choose {' or '.join(choices)}")


def digest_of_labels(contents: Mapping[str, bytes]) -> str:
    """Return a short digest of label files, path -> bytes."""
    digests = {path: sha256_of(data) for path, data in contents.items()}
    return sha256_of(json.dumps(digests, sort_keys=True).encode())[:12]


def record_of(framed: Framed | Reason, place: Place, *, labels: Labels) -> FrameRecord | Unusable:
    """Return the record of a frame, or why there is none."""
    if isinstance(framed, Reason):
        return lost(framed, subject=place.subject, sequence=place.sequence, frame=place.frame)
    score = labels.house_brackmann
    return FrameRecord(
        subject=place.subject,
        sequence=place.sequence,
        frame=place.frame,
        jpeg=framed.jpeg,
        landmarks=framed.landmarks,
        landmarks_68=framed.landmarks_68,
        landmark_source=framed.landmark_source,
        units=labels.units,
        intensities=labels.intensities,
        house_brackmann=score,
        grade=int(grade_of(score)) if score else NOT_GRADED,
        side=labels.side,
        exercise=labels.exercise,
        crop_240=framed.crop_240,
    )


def lost(
    reason: Reason, *, subject: str, sequence: str, frame: int | None = None, count: int = 1
) -> Unusable:
    """Return the entry of frames that cannot be used."""
    return Unusable(
        subject=subject, sequence=sequence, frame=frame, reason=reason.value, count=count
    )


def released_shape(points: Points | None) -> Shape | None:
    """Return the shape of a release's 49, 66 or 68 points; None where it has none for the frame.

    The 66 points of DISFA are the 68 without the inner mouth corners. A tracker that lost the face
    leaves an empty row, zeros or numbers that are not finite.
    """
    if points is None or not np.isfinite(points).all() or not np.any(points):
        return None
    if points.shape == (68, 2):
        landmarks, full = points[POINTS_49_OF_68], points
    elif points.shape == (_NUM_DISFA_POINTS, 2):
        landmarks, full = points[-NUM_POINTS:], None
    elif points.shape == (NUM_POINTS, 2):
        return Shape(landmarks=points, landmarks_68=None, outline=None, source="release")
    else:
        return None
    return Shape(landmarks=landmarks, landmarks_68=full, outline=points[_OUTLINE], source="release")


def frame_picture(data: bytes, *, released: Points | None, crop: Crop) -> Framed | Reason:
    """Return what a record holds of a JPEG or PNG, or why it cannot be used."""
    if data.startswith(_JPEG_START) and _JPEG_END not in data[len(data) // 2 :]:
        # Cut off, and the decoder would fill the rest with grey. A thumbnail's end lies in front.
        return Reason.UNREADABLE
    try:
        photo = decode_frame(data)
    except FrameError:
        return Reason.UNREADABLE
    return frame_photo(photo, released=released, crop=crop)


def frame_photo(photo: Photo, *, released: Points | None, crop: Crop) -> Framed | Reason:
    """Return what a record holds of a photo, or why it cannot be used.

    Args:
        photo: (H, W, 3) uint8 RGB.
        released: (49, 66 or 68, 2) pixels of the photo, where the release has them; without them
            the largest face that MediaPipe finds is taken.
        crop: Which crop beside the aligned frame.
    """
    shape = released_shape(released) or _found_shape(photo)
    if shape is None:
        return Reason.NO_FACE
    try:
        alignment_of(shape.landmarks)
    except FaceError:
        return Reason.NO_FACE_SHAPE
    try:
        face = align(photo, shape.landmarks)
    except FaceError:
        return Reason.OUTSIDE
    crop_240 = None
    if crop == "lpnet":
        crop_240 = _crop_240(photo, shape)
        if crop_240 is None:
            return Reason.NO_FACE
    full = shape.landmarks_68
    return Framed(
        jpeg=encode_jpeg(face.frame),
        landmarks=face.landmarks,
        landmarks_68=(
            None if full is None else apply_affine(face.to_aligned, full).astype(np.float32)
        ),
        landmark_source=shape.source,
        crop_240=crop_240,
    )


def encode_jpeg(frame: Photo) -> bytes:
    """Return RGB pixels as a JPEG; the same bytes for the same pixels."""
    import cv2

    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert done, "OpenCV encodes any pixels"
    return data.tobytes()


def _crop_240(photo: Photo, shape: Shape) -> bytes | None:
    outline = shape.outline
    if outline is None:
        # A release with 49 points knows no jaw: the mask takes the one that MediaPipe sees.
        found = _found_shape(photo)
        outline = found and found.outline
    if outline is None:
        return None
    try:
        return encode_jpeg(cut_crop_240(photo, landmarks=shape.landmarks, outline=outline))
    except FaceError:
        return None


def _found_shape(photo: Photo) -> Shape | None:
    faces = _finder().find(photo)
    if not faces:
        return None
    points = faces[0].landmarks_68
    return Shape(
        landmarks=faces[0].landmarks,
        landmarks_68=points,
        outline=points[_OUTLINE],
        source="mediapipe",
    )


@lru_cache(maxsize=1)
def _finder() -> FaceFinder:
    """Return this process's finder: loading it takes a quarter of a second."""
    return FaceFinder()
