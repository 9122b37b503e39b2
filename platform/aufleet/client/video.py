"""The frames of a video file; OpenCV and the progress bar's library are loaded on use."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aufleet.client.frames import SentFrame
from aufleet.errors import ConfigError

JPEG_QUALITY = 95
FALLBACK_RATE_HZ = 25.0
"""Of a video that does not say its own."""
_INSTALL = "pip install 'aufleet[video]'"


class Video:
    """A video file and its frames as JPEGs.

    Args:
        path: A file that OpenCV reads.
        max_rate_hz: Frames that come sooner after the last one are left out; None for every frame.

    Raises:
        ConfigError: OpenCV is not installed, or it cannot read the file.
    """

    def __init__(self, path: str | Path, *, max_rate_hz: float | None = None) -> None:
        if max_rate_hz is not None and not max_rate_hz > 0:
            raise ConfigError(f"max_rate_hz is {max_rate_hz:g}", "give frames per second")
        cv2 = _cv2()
        self.path = Path(path)
        if not self.path.is_file():
            raise ConfigError(f"{path} cannot be read: there is no such file")
        capture = _open(self.path)
        self._max_rate_hz = max_rate_hz or 0.0
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = rate_hz if math.isfinite(rate_hz) and rate_hz > 0 else FALLBACK_RATE_HZ
        self.num_frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()

    @property
    def num_sent(self) -> int | None:
        """About how many frames will be sent; None where the video does not say."""
        if not self.num_frames:
            return None
        sent_hz = min(self.rate_hz, self._max_rate_hz or math.inf)
        return math.ceil(self.num_frames * sent_hz / self.rate_hz)

    def pictures(self) -> Iterator[tuple[float, Any]]:
        """Yield time in seconds and pixels, (H, W, 3) uint8 BGR and upright, of each frame.

        Raises:
            ConfigError: Not one frame can be decoded.
        """
        capture, number, last_s, last_slot = _open(self.path), 0, -math.inf, -1
        try:
            while capture.grab():
                time_s = _time_of(capture, number=number, rate_hz=self.rate_hz, last_s=last_s)
                number, last_s = number + 1, time_s
                # Half a frame of patience: times are rounded.
                slot = int((time_s + 0.5 / self.rate_hz) * self._max_rate_hz)
                if self._max_rate_hz and slot == last_slot:
                    continue
                done, picture = capture.retrieve()
                if done:
                    last_slot = slot
                    yield time_s, picture
        finally:
            capture.release()
        if last_slot < 0:
            raise ConfigError(f"{self.path} holds no frame that can be decoded")

    def frames(self) -> Iterator[SentFrame]:
        """Yield each frame as a JPEG."""
        for time_s, picture in self.pictures():
            yield SentFrame(time_s=time_s, encoded=encode(picture))


@contextmanager
def progress_of(video: Video, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Yield what is called after each answer; it moves a bar on standard error where it is shown.

    Raises:
        ConfigError: The bar's library is not installed.
    """
    if not shown:
        yield lambda: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError as error:
        raise ConfigError(f"a progress bar needs rich, which is not here: {_INSTALL}") from error
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(video.path.name, total=video.num_sent)
        yield lambda: bar.advance(task)


def encode(picture: Any) -> bytes:  # noqa: ANN401 - cv2 is loaded on use
    """Return (H, W, 3) uint8 BGR pixels as a JPEG."""
    cv2 = _cv2()
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _time_of(capture: Any, *, number: int, rate_hz: float, last_s: float) -> float:  # noqa: ANN401
    """Return the time of the frame that was grabbed; it never goes back nor stands still."""
    time_s = capture.get(_cv2().CAP_PROP_POS_MSEC) / 1e3
    if number and not time_s > last_s:
        # Some files have no times, or damaged ones.
        time_s = last_s + 1 / rate_hz
    return max(0.0, time_s)


def _open(path: Path) -> Any:  # noqa: ANN401 - cv2 is loaded on use
    cv2 = _cv2()
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(path))
    finally:
        logging.setLogLevel(level)
    if not capture.isOpened():
        raise ConfigError(f"{path} is no video that OpenCV can read", "MP4 with H.264 works")
    return capture


def _cv2() -> Any:  # noqa: ANN401
    # Read once, when OpenCV first opens a video: every damaged packet would print a line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(f"reading videos needs OpenCV, which is not here: {_INSTALL}") from error
    return cv2
