"""From the bytes of a picture to pixels; what is too large is refused before it is decoded."""

import numpy as np
from numpy.typing import NDArray

from aufleet.errors import FrameError

MAX_PIXELS = 50_000_000
MAX_SIDE = 32_766
"""Pixels of the longer side: OpenCV warps no more, and the one in MediaPipe ends the process."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
# Start-of-frame markers; C4, C8 and CC in that range are tables, not frames.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset(range(0xD0, 0xD8)) | {0x01}


def decode_frame(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the picture as (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Args:
        data: A JPEG or a PNG.
        max_pixels: The most pixels that are decoded; read from the header first, so that a small
            file cannot claim much memory.

    Raises:
        FrameError: The bytes are not a JPEG or PNG, are damaged, or have too many pixels.
    """
    import cv2

    check_size(data, max_pixels=max_pixels)
    pixels = np.frombuffer(data, dtype=np.uint8)
    try:
        frame = cv2.imdecode(pixels, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise FrameError("the picture cannot be decoded", "send a whole JPEG or PNG") from error
    if frame is None:
        raise FrameError("the picture cannot be decoded", "send a whole JPEG or PNG")
    return np.asarray(frame, dtype=np.uint8)


def check_size(data: bytes, *, max_pixels: int) -> None:
    """Refuse a picture by its header alone.

    Raises:
        FrameError: No bytes, no JPEG or PNG, or too many pixels, together or along one side.
    """
    width, height = picture_size(data)
    if width * height > max_pixels:
        raise FrameError(
            f"the picture has {width} x {height} = {width * height / 1e6:.1f} megapixels",
            f"send at most {max_pixels / 1e6:g}",
        )
    check_sides(width, height)


def check_sides(width: int, height: int) -> None:
    """Refuse a picture that is too long.

    Raises:
        FrameError: A side has more than `MAX_SIDE` pixels.
    """
    if max(width, height) > MAX_SIDE:
        raise FrameError(
            f"the picture has {width} x {height} pixels", f"send at most {MAX_SIDE:,} along a side"
        )


def picture_size(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels from the header of a JPEG or PNG, before any EXIF turn.

    Raises:
        FrameError: No bytes, neither a JPEG nor a PNG, or a header without a size.
    """
    if not data:
        raise FrameError("the picture is empty", "send a JPEG or PNG")
    if data.startswith(_PNG_MAGIC):
        width, height = _png_size(data)
    elif data.startswith(_JPEG_MAGIC):
        width, height = _jpeg_size(data)
    else:
        raise FrameError("the bytes are not a picture", "send a JPEG or PNG")
    if width == 0 or height == 0:
        raise FrameError("the picture's header gives no size", "send a whole JPEG or PNG")
    return width, height


def _png_size(data: bytes) -> tuple[int, int]:
    # IHDR is always the first chunk: length, name, then width and height.
    if data[12:16] != b"IHDR" or len(data) < 24:
        return 0, 0
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return 0, 0
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(
                data[at + 5 : at + 7], "big"
            )
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0
