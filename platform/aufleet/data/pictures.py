"""The pixels of a part, cut as they are asked for: decoded once, or anew for each batch."""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from aufleet.data.crop_240 import CROP_240_SIZE
from aufleet.data.decoding import decode_frame
from aufleet.data.records import ALIGNED_SIZE
from aufleet.data.sampling import Crops
from aufleet.data.shard import Picture, Shard
from aufleet.data.shard_reader import ShardReader
from aufleet.errors import FrameError, ObjectCorruptError

KEEP_DECODED_BYTES = 2 * 1024**3
"""Parts up to this size are decoded once and kept; larger ones are decoded batch by batch."""
_decoders = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which of a frame's pictures is cut."""

    name: Picture
    side: int
    """In pixels."""

    @property
    def frame_bytes(self) -> int:
        """Size of a decoded one."""
        return 3 * self.side**2


ALIGNED = Source(name="jpeg", side=ALIGNED_SIZE)
MASKED = Source(name="crop_240", side=CROP_240_SIZE)
"""LP-Net's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Which rows of a part, and how each is cut."""

    rows: NDArray[np.int64]
    crops: Crops


class Pictures(Protocol):
    """Frames by row."""

    def cut(self, cuts: Iterable[Cut], *, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield each cut's frames as (b, 3, size, size) uint8 RGB."""
        ...


class KeptPictures:
    """Frames that lie decoded in memory."""

    def __init__(self, num_frames: int, *, source: Source) -> None:
        """Make room for so many."""
        self._source = source
        self._frames = np.empty((num_frames, source.side, source.side, 3), dtype=np.uint8)

    def fill(self, shard: Shard, *, start: int) -> None:
        """Decode a shard into the rows from `start` on.

        Raises:
            FrameError: A frame is no picture of the source's size.
        """
        # Threads wait for the store side by side, but decoding them all at once gains nothing.
        with _decoders:
            for row in range(len(shard)):
                self._frames[start + row] = decoded(shard, row, source=self._source)

    def cut(self, cuts: Iterable[Cut], *, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield each cut's frames as (b, 3, size, size) uint8 RGB."""
        for cut in cuts:
            yield cut_frames((self._frames[row] for row in cut.rows), cut.crops, size=size)


class EncodedPictures:
    """Frames that are decoded whenever they are asked for, in this process."""

    def __init__(
        self, reader: ShardReader, *, source: Source, shards: Sequence[Shard] | None = None
    ) -> None:
        """Take the shards; without them each is opened when it is needed."""
        self._reader, self._source = reader, source
        self._shards = list(shards or [None] * len(reader.partitions))

    def cut(self, cuts: Iterable[Cut], *, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield each cut's frames as (b, 3, size, size) uint8 RGB."""
        for cut in cuts:
            yield cut_frames(map(self._frame, cut.rows), cut.crops, size=size)

    def _frame(self, row: int) -> NDArray[np.uint8]:
        number, within = self._reader.place_of(row)
        shard = self._shards[number] or self._reader.open(number)
        try:
            frame = decoded(shard, within, source=self._source)
        except ObjectCorruptError:
            shard = self._reader.open_anew(number, damaged=shard)
            frame = decoded(shard, within, source=self._source)
        self._shards[number] = shard
        return frame


def decoded(shard: Shard, row: int, *, source: Source) -> NDArray[np.uint8]:
    """Return a frame of a shard, (side, side, 3) uint8 RGB.

    Raises:
        FrameError: It is no picture of the source's size.
        ObjectCorruptError: The shard is damaged.
    """
    frame = decode_frame(shard.picture(source.name, row))
    if frame.shape != (source.side, source.side, 3):
        raise FrameError(
            f"row {row} of {shard.source} is a frame of shape {frame.shape}",
            f"data sets hold frames of {source.side}x{source.side} pixels there",
        )
    return frame


def cut_frames(
    frames: Iterable[NDArray[np.uint8]], crops: Crops, *, size: int
) -> NDArray[np.uint8]:
    """Return the crops (b, 3, size, size) of frames, each (side, side, 3)."""
    cut = np.empty((len(crops.left), 3, size, size), dtype=np.uint8)
    for row, (planes, frame) in enumerate(zip(cut, frames, strict=True)):
        if crops.degrees is not None:
            frame = _turned(frame, float(crops.degrees[row]))
        left, top = crops.left[row], crops.top[row]
        window = frame[top : top + size, left : left + size]
        # Into the planes themselves: a pixel is touched once while it is one byte.
        cv2.split(cv2.flip(window, 1) if crops.flip[row] else window, [*planes])
    return cut


def turn_about_middle(degrees: NDArray[np.float64], *, side: int) -> NDArray[np.float64]:
    """Return the maps (b, 2, 3) that turn pixels clockwise about the middle of a frame."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    # The picture's y axis points down, so that this turns clockwise to the eye.
    turn = np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)
    middle = np.full(2, (side - 1) / 2)
    return np.concatenate([turn, (middle - turn @ middle)[..., None]], axis=-1)


def _turned(frame: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return a frame turned about its middle, black where nothing was."""
    side = len(frame)
    affine = turn_about_middle(np.array(degrees), side=side)
    return np.asarray(cv2.warpAffine(frame, affine, (side, side)), dtype=np.uint8)
