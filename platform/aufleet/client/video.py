"""The frames of a video file; OpenCV and the progress bar's library are loaded on use."""

import math
import os
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from aufleet.client.frames import SentFrame
from aufleet.errors import ConfigError

JPEG_QUALITY = 95
FALLBACK_RATE_HZ = 25.0
"""Of a video that does not say its own."""
_INSTALL = "pip install 'aufleet[video]'"


class Video:
    """A video file and its frames as JPEGs.

    Args:
        source: A file that OpenCV reads, or its bytes.
        max_rate_hz: Frames that come sooner after the last one are left out; None for every frame.

    Raises:
        ConfigError: OpenCV is not installed, or it cannot read the file.
    """

    def __init__(self, source: str | Path | bytes, *, max_rate_hz: float | None = None) -> None:
        if max_rate_hz is not None and not max_rate_hz > 0:
            raise ConfigError(f"max_rate_hz is {max_rate_hz:g}", "give frames per second")
        cv2 = _cv2()
        if isinstance(source, bytes):
            # OpenCV's own reader of bytes crashes in 5.0.0.
            file = _file_in_memory(source)
            self.name, self._path = "the video", Path(file.name)
            self.close = weakref.finalize(self, file.close)
        else:
            self.name, self._path = Path(source).name, Path(source)
        if not self._path.exists():
            raise ConfigError(f"{source} cannot be read: there is no such file")
        capture = self._open()
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

    def pictures(self) -> Generator[tuple[float, Any], None, None]:
        """Yield time in seconds and pixels, (H, W, 3) uint8 BGR and upright, of each frame.

        Raises:
            ConfigError: Not one frame can be decoded.
        """
        capture, number, last_s, last_slot = self._open(), 0, -math.inf, -1
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
            raise ConfigError(f"{self.name} holds no frame that can be decoded")

    def _open(self) -> Any:  # noqa: ANN401 - cv2 is loaded on use
        cv2 = _cv2()
        logging = cv2.utils.logging
        level = logging.getLogLevel()
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        try:
            capture = cv2.VideoCapture(str(self._path))
        finally:
            logging.setLogLevel(level)
        if not capture.isOpened():
            raise ConfigError(f"{self.name} is no video that can be read", "MP4 with H.264 works")
        return capture

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
        task = bar.add_task(video.name, total=video.num_sent)
        yield lambda: bar.advance(task)


def _file_in_memory(content: bytes) -> Any:  # noqa: ANN401 - a file with a name
    """Return an open file of these bytes that lies on no disk, where the system has such files."""
    if not hasattr(os, "memfd_create"):
        file: Any = tempfile.NamedTemporaryFile()  # noqa: SIM115 - lives as long as the video
    else:
        file = _Named(os.fdopen(os.memfd_create("video"), "wb"))
    file.write(content)
    file.flush()
    return file


class _Named:
    """A file without a place, and the name under which this process can open it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.name = f"/proc/self/fd/{file.fileno()}"
        self.write, self.flush, self.close = file.write, file.flush, file.close


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


def _cv2() -> Any:  # noqa: ANN401
    # Read once, when OpenCV first opens a video: every damaged packet would print a line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(f"reading videos needs OpenCV, which is not here: {_INSTALL}") from error
    return cv2
