"""The frames of a video, one after another; a damaged one costs itself and not the rest."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aufleet.data.importers.reasons import Reason
from aufleet.errors import FrameError


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoFrame:
    """One frame, or a run of frames that cannot be decoded.

    Attributes:
        number: Its number, the first is 0.
        frame: (H, W, 3) uint8 RGB, upright; None where it cannot be decoded.
        reason: Why it is None.
        count: How many frames from this one on are meant.
    """

    number: int
    frame: NDArray[np.uint8] | None
    reason: Reason = Reason.UNREADABLE
    count: int = 1


def count_frames(path: Path) -> int:
    """Return how many frames a video says it has; 0 where it does not say.

    Raises:
        FrameError: It cannot be opened.
    """
    with _opened(path) as capture:
        return _declared(capture)


def read_video(path: Path, *, skip: Callable[[int], bool] | None = None) -> Iterator[VideoFrame]:
    """Yield every frame of a video, in order; two are in memory.

    Of a video that is cut off the last frame that a decoder gives may hold half a picture, so it
    counts among the lost ones.

    Args:
        path: A file of this machine.
        skip: Says of a frame's number whether nobody wants its pixels: where it can be decoded it
            is not yielded.

    Raises:
        FrameError: The video cannot be opened.
    """
    with _opened(path) as capture:
        declared, number, failed = _declared(capture), 0, 0
        held: VideoFrame | None = None
        while failed == 0 or number + failed < declared:
            # Each failed grab uses up one packet, which is one frame.
            if not capture.grab():
                failed += 1
                continue
            if held:
                yield held
            yield from (VideoFrame(number=number + k, frame=None) for k in range(failed))
            number, failed = number + failed, 0
            held = None if skip and skip(number) else _retrieve(capture, number)
            number += 1
        yield from _ending(held, number=number, num_lost=declared - number)


def _ending(held: VideoFrame | None, *, number: int, num_lost: int) -> Iterator[VideoFrame]:
    """Yield the last frame, or the run of frames that a video lacks at its end."""
    if num_lost <= 0:
        if held:
            yield held
        return
    first = held.number if held else number
    yield VideoFrame(
        number=first,
        frame=None,
        reason=Reason.VIDEO_ENDS_EARLY,
        count=number - first + num_lost,
    )


def _retrieve(capture: Any, number: int) -> VideoFrame:  # noqa: ANN401 - cv2 is imported inside
    import cv2

    done, picture = capture.retrieve()
    if not done:
        return VideoFrame(number=number, frame=None)
    frame = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return VideoFrame(number=number, frame=np.asarray(frame, dtype=np.uint8))


def _declared(capture: Any) -> int:  # noqa: ANN401
    import cv2

    return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # Read once, when OpenCV first opens a video: every damaged packet would print a line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        # One thread: a node decodes as many videos as it has cores.
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    finally:
        logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise FrameError(
                f"{path.name} is not a video that can be opened", "convert it, or copy it again"
            )
        yield capture
    finally:
        capture.release()
