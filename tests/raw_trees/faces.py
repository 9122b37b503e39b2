"""Photos of synthetic people that a face finder finds; their brightness tells which frame it is."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from aufleet.data.synthetic import render_portrait

SIZE = 256
NUM_PEOPLE = 4
"""Rendering is slow: the subjects of a tree share so many faces."""


@dataclass(frozen=True)
class Photo:
    """(256, 256, 3) uint8 RGB with its exact points, (49, 2) and (68, 2)."""

    pixels: np.ndarray
    landmarks: np.ndarray
    landmarks_68: np.ndarray

    @property
    def jpeg(self) -> bytes:
        return cv2.imencode(".jpg", cv2.cvtColor(self.pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


@lru_cache(maxsize=NUM_PEOPLE)
def portrait(person: int) -> Photo:
    """One of a few people, looking at the camera."""
    face = render_portrait(seed=(11, 2, 5, 9)[person % NUM_PEOPLE], size_px=SIZE)
    return Photo(face.frame, face.landmarks, face.landmarks_68)


def photo(person: int, *, step: int) -> Photo:
    """The person in frame `step` of a sequence, brighter with each step."""
    face = portrait(person % NUM_PEOPLE)
    gain = 0.5 + 0.03 * (step % 16)
    return Photo((face.pixels * gain).astype(np.uint8), face.landmarks, face.landmarks_68)


def nobody() -> Photo:
    """A picture without a face."""
    return Photo(np.full((SIZE, SIZE, 3), 90, np.uint8), np.zeros((49, 2)), np.zeros((68, 2)))


def brightness(jpeg: bytes) -> float:
    """How bright the middle of a picture is: grows with `step`."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return float(pixels[80:120, 80:120].mean())


def write_video(path: Path, photos: list[Photo], *, codec: str = "MJPG") -> Path:
    """Write photos of one size as a video of 20 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = photos[0].pixels.shape[:2]
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 20.0, (width, height)
    )
    assert writer.isOpened()
    for one in photos:
        writer.write(cv2.cvtColor(one.pixels, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def cut_off(path: Path, *, keep: float) -> None:
    """Truncate a file in the middle of its frames, as a copy that broke."""
    data = path.read_bytes()
    start = max(data.find(b"movi"), 0)
    path.write_bytes(data[: start + int((len(data) - start) * keep)])


def damage_frame(path: Path, number: int) -> None:
    """Overwrite one frame of an AVI with zeros."""
    data = bytearray(path.read_bytes())
    at = data.index(b"movi")
    for _ in range(number + 1):
        at = data.index(b"00dc", at + 1)
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = bytes(size)
    path.write_bytes(data)


def write(path: Path, content: bytes | str) -> Path:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
