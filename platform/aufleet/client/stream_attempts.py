"""When a broken stream is taken up again: shared by both clients.

Only where that is safe: every frame is answered exactly once, in order, and as it would have been
without the break. The frames that were not answered are sent again; where answers are smoothed over
time, the answered ones that still count go before them, and their second answers are dropped.
"""

import time
from collections.abc import Iterator

import grpc

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.client import messages
from aufleet.client.errors import UnavailableError, is_too_large, is_untrusted, translate
from aufleet.client.frames import FrameBuffer, SentFrame
from aufleet.client.messages import Wishes
from aufleet.client.retry import RetryPolicy, asked_pause_s

TAKEN_UP = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        # A gateway that stops, and one whose longest time for a stream has passed.
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


class StreamAttempts:
    """Counts one stream's attempts and matches answers to frames."""

    def __init__(self, buffer: FrameBuffer, *, retry: RetryPolicy, request_id: str) -> None:
        self._buffer, self._retry, self.request_id = buffer, retry, request_id
        self._pauses: Iterator[float] = retry.pauses()
        self._progress_s, self._any_answer, self._number = time.monotonic(), False, 0

    def begin(self) -> int:
        """Return the number of the first frame that this attempt has to send."""
        self._number = self._buffer.start_number()
        return self._number

    def accept(self, answer: service.AnalyzeStreamResponse) -> bool:
        """Take the next answer; return whether it is new.

        Raises:
            UnavailableError: It is the answer of another frame.
        """
        number, self._number = self._number, self._number + 1
        if number < self._buffer.num_answered:
            return False
        frame = self._buffer.answered()
        if frame.time_s != answer.time_s:
            raise UnavailableError(
                f"the frame at {frame.time_s:g} s got the answer of {answer.time_s:g} s",
                "INTERNAL",
                self.request_id,
            )
        self._progress_s, self._any_answer = time.monotonic(), True
        self._pauses = self._retry.pauses()
        return True

    def ended(self) -> None:
        """Check that the stream ended because everything is answered.

        Raises:
            ClientError: Frames are left; or whatever reading the frames raised.
        """
        self._buffer.raise_source_error()
        if self._buffer.num_unanswered:
            raise UnavailableError(
                f"the stream ended {self._buffer.num_unanswered} answers too early",
                "UNAVAILABLE",
                self.request_id,
            )

    def pause_after(self, error: grpc.RpcError) -> float:
        """Return how long to wait before the next attempt.

        Raises:
            ClientError: There is none.
        """
        # What the source raised ends the stream as a cancelled call.
        self._buffer.raise_source_error()
        pause_s = max(next(self._pauses), asked_pause_s(error))
        waited_s = time.monotonic() - self._progress_s + pause_s
        # A camera that pauses is no failure: then nothing waits for an answer.
        is_waiting = self._buffer.num_unanswered > 0 or not self._any_answer
        if not _is_lost(error) or (is_waiting and waited_s > self._retry.total_s):
            raise translate(error, request_id=self.request_id) from None
        return pause_s


def _is_lost(error: grpc.RpcError) -> bool:
    """Return whether the connection was lost, or closed by the gateway."""
    # grpc.aio hides the code behind this where the call ends while a frame is being written.
    if is_untrusted(error) or is_too_large(error):
        return False
    hidden = error.details() == "Internal error from Core"  # type: ignore[attr-defined]
    return hidden or error.code() in TAKEN_UP  # type: ignore[attr-defined]


def config_request(
    wishes: Wishes, *, model: str, version: str, smoothing_time_s: float
) -> service.AnalyzeStreamRequest:
    """Return the first message of a stream."""
    return service.AnalyzeStreamRequest(
        config=service.StreamConfig(
            model=model,
            version=version,
            smoothing_time_s=smoothing_time_s,
            include_attention=wishes.include_attention,
        )
    )


def frame_request(sent: SentFrame, wishes: Wishes) -> service.AnalyzeStreamRequest:
    """Return the message of a frame."""
    picture = messages.frame(sent.encoded, wishes)
    return service.AnalyzeStreamRequest(
        frame=service.StreamFrame(frame=picture, time_s=sent.time_s)
    )
