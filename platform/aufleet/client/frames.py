"""The frames of a stream on the caller's side: kept until they are answered, so none is lost.

Frames have numbers, from 0. Every attempt at a stream reads them by number: one that begins after
a lost connection gets the unanswered ones again, and goes on where the source stands.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from aufleet.client.errors import ClientError

MAX_UNANSWERED = 32
"""Frames that wait for their answer; the source is not read further until one comes."""
MAX_KEPT_BYTES = 512 * 2**20
"""Of frames that are kept for another attempt; more can only be where smoothing looks far back."""
SMOOTHING_MEMORY = 10.0
"""Time constants after which 0.005 % of a frame are left in a smoothed answer, less than batches
change it: from there on a stream can be taken up again with the same answers."""


@dataclass(frozen=True, kw_only=True)
class SentFrame:
    """One frame of a stream."""

    time_s: float
    """Since the start of the video."""
    encoded: bytes
    """A JPEG or PNG."""


class FrameBuffer:
    """Reads a source once, however often its frames are sent; shared by threads."""

    def __init__(self, source: Iterator[SentFrame], *, smoothing_time_s: float) -> None:
        """Begin before the first frame.

        Args:
            source: The frames; read in the thread that asks for the next one.
            smoothing_time_s: Answered frames are kept for as long as they still count.
        """
        self._source, self._memory_s = source, SMOOTHING_MEMORY * smoothing_time_s
        self._kept: deque[SentFrame] = deque()
        self._kept_bytes = 0
        self._first, self.num_answered = 0, 0
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._reading = threading.Lock()
        self._changed = threading.Condition()

    def frame(self, number: int) -> SentFrame | None:
        """Return a frame; None after the last one, and when the buffer is closed.

        Waits while too many frames are unanswered.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or number - self.num_answered < MAX_UNANSWERED
            )
        with self._reading:
            if self._closed:
                return None
            with self._changed:
                if number < self._first:  # of an attempt that was lost long ago
                    return None
                if number < self._first + len(self._kept):
                    return self._kept[number - self._first]
            return self._read()

    def start_number(self) -> int:
        """Return the number from which another attempt has to send."""
        with self._changed:
            return self._first

    def answered(self) -> SentFrame:
        """Return the frame that has just been answered, and drop what nobody needs again."""
        with self._changed:
            frame = self._kept[self.num_answered - self._first]
            self.num_answered += 1
            while self._first < self.num_answered and self._is_forgotten(frame.time_s):
                self._kept_bytes -= len(self._kept.popleft().encoded)
                self._first += 1
            self._changed.notify_all()
            return frame

    @property
    def num_unanswered(self) -> int:
        """Frames that were read and have no answer."""
        with self._changed:
            return self._first + len(self._kept) - self.num_answered

    def close(self) -> None:
        """Let everybody go who waits for a frame."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def raise_source_error(self) -> None:
        """Raise what reading the source raised, if it did."""
        if self._error is not None:
            raise self._error

    def _is_forgotten(self, now_s: float) -> bool:
        return not self._memory_s or self._kept[0].time_s < now_s - self._memory_s

    def _read(self) -> SentFrame | None:
        if self._ended:
            return None
        try:
            frame = next(self._source, None)
        except BaseException as error:  # raised again where the answers are read
            self._error, frame = error, None
        if frame is None:
            self._ended = True
            return None
        with self._changed:
            self._kept.append(frame)
            self._kept_bytes += len(frame.encoded)
            if self._kept_bytes > MAX_KEPT_BYTES:
                self._ended, self._error = True, _too_much()
        return frame


def _too_much() -> ClientError:
    return ClientError(
        f"more than {MAX_KEPT_BYTES >> 20} MiB of frames would have to be kept: "
        "use a shorter smoothing time, or smaller frames",
        "FAILED_PRECONDITION",
    )
