"""The face that `aufleet models show` looks at: found in a photo, or aligned already."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aufleet.errors import FaceError, FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aufleet.data.faces import FoundFace

SURROUNDINGS = 0.35
"""What is shown of the photo around the aligned frame, in sides of that frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownFace:
    """A face in its aligned frame.

    Attributes:
        frame: (200, 200, 3) uint8 RGB, aligned.
        landmarks: (68, 2) float32, found points in pixels of the aligned frame; None where the
            face finder saw no face in an aligned frame.
        photo: (H, W, 3) uint8 RGB, the photo around the face; None for an aligned frame.
        outline: (4, 2) corners of the aligned frame in pixels of `photo`; None for an aligned one.
    """

    frame: "NDArray[np.uint8]"
    landmarks: "NDArray[np.float32] | None"
    photo: "NDArray[np.uint8] | None" = None
    outline: "NDArray[np.float64] | None" = None


def read_face(image: Path, *, aligned: bool) -> ShownFace:
    """Return the largest face of a photo, or the one of an aligned frame.

    Raises:
        FrameError: The file is not there, is no picture, or is no aligned frame.
        FaceError: The photo has no face that can be aligned.
    """
    from aufleet.data.faces import FaceFinder, decode_frame

    try:
        pixels = decode_frame(image.read_bytes())
    except OSError as error:
        raise FrameError(f"{image} cannot be read ({error.strerror})") from None
    except FrameError as error:
        raise FrameError(f"{image}: {error.what}", error.remedy) from None
    if aligned:
        _check_aligned(pixels, image)
    faces = FaceFinder().find(pixels)
    if aligned:
        return ShownFace(frame=pixels, landmarks=faces[0].landmarks_68 if faces else None)
    if not faces:
        raise FaceError(
            f"no face was found in {image}",
            "use a sharper photo, or give --aligned for a frame of a data set",
        )
    return _first_aligned(pixels, faces, image)


def _check_aligned(pixels: "NDArray[np.uint8]", image: Path) -> None:
    from aufleet.data.records import ALIGNED_SIZE

    height, width = pixels.shape[:2]
    if (height, width) != (ALIGNED_SIZE, ALIGNED_SIZE):
        raise FrameError(
            f"{image} has {width} x {height} pixels, an aligned frame has "
            f"{ALIGNED_SIZE} x {ALIGNED_SIZE}",
            "leave --aligned out, and the face is found and aligned",
        )


def _first_aligned(pixels: "NDArray[np.uint8]", faces: "list[FoundFace]", image: Path) -> ShownFace:
    """Return the largest face that can be aligned, as the service does."""
    import numpy as np

    from aufleet.data.alignment import align, apply_affine

    reason = ""
    for face in faces:
        try:
            aligned = align(pixels, face.landmarks)
        except FaceError as error:
            reason = reason or str(error)
            continue
        side = aligned.frame.shape[0]
        square = np.array([(0, 0), (side, 0), (side, side), (0, side)]) - 0.5
        photo, outline = _surroundings(pixels, aligned.to_frame(square))
        landmarks = apply_affine(aligned.to_aligned, face.landmarks_68).astype(np.float32)
        return ShownFace(frame=aligned.frame, landmarks=landmarks, photo=photo, outline=outline)
    raise FaceError(f"the face in {image} cannot be aligned ({reason})", "use a larger face")


def _surroundings(
    pixels: "NDArray[np.uint8]", outline: "NDArray[np.float64]"
) -> "tuple[NDArray[np.uint8], NDArray[np.float64]]":
    """Return the square part of a photo around an outline, and the outline in its pixels."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    half = (0.5 + SURROUNDINGS) * float((high - low).max())
    middle = (low + high) / 2
    left, top = (max(0, int(edge)) for edge in middle - half)
    right, bottom = (int(edge) + 1 for edge in middle + half)
    return pixels[top:bottom, left:right], outline - (left, top)
