"""The frames of one request on their way through aligner and analyzer.

A frame that cannot be used has its own status; an error of this module is for the whole request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from aufleet.api.v1 import face_pb2
from aufleet.data.alignment import undo_affine
from aufleet.data.decoding import MAX_SIDE, picture_size
from aufleet.data.records import ALIGNED_SIZE
from aufleet.errors import FrameError, InvalidRequestError
from aufleet.serving.call import Call
from aufleet.serving.config import Limits
from aufleet.serving.exchange import (
    Box,
    LocatedFace,
    LocatedFaces,
    NetworkAnswers,
    Ungradable,
)
from aufleet.serving.replicas import answer_of

ALIGNED_BOX: Box = (0.0, 0.0, float(ALIGNED_SIZE), float(ALIGNED_SIZE))
_NOTHING: dict[str, Any] = {
    "probabilities": np.empty(0, dtype=np.float32),
    "side": None,
    "regions": None,
    "attention_png": None,
}
"""What a face that is not judged has."""

_Result = TypeVar("_Result")


def field_of(frame: face_pb2.Frame, index: int) -> str:
    """Return the name of a frame's field in a request of `aufleet.api.v1`."""
    return f"frames[{index}].{frame.WhichOneof('content') or 'encoded'}"


class Replicas(Protocol):
    """A deployment's handle: each of its methods has a `remote` that starts a call."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - Ray's handle is as loose
        """Return a method."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalyzedFace:
    """What the network says of one face, in the geometry of the sent frame."""

    box: Box
    """Pixels of the sent frame."""
    landmarks: NDArray[np.float64]
    """(49, 2) pixels of the sent frame: the network's, or the aligner's where it predicts none;
    (0, 2) for an aligned frame without either."""
    probabilities: NDArray[np.float32]
    """(U,) or (4,); (0,) of a face that was not judged."""
    side: NDArray[np.float32] | None = None
    """(3,): none, patient's left, patient's right."""
    regions: NDArray[np.float32] | None = None
    """(12,) impairment in the order of `REGION_NAMES`."""
    attention_png: bytes | None = None
    """Where the network looked."""
    ungradable: Ungradable | None = None
    """Why it must not be judged; it has numbers only where the caller asked for them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalyzedFrame:
    """What became of one frame."""

    status: "face_pb2.FrameStatus"
    """As the caller gets it."""
    faces: tuple[AnalyzedFace, ...] = ()
    """The largest first."""
    message: str = ""
    """One sentence where the status is not OK."""
    ungradable: Ungradable | None = None
    """Why, where the status is UNGRADABLE."""
    timings_ms: dict[str, float] = field(default_factory=dict)
    """Stage -> time."""


class Pipeline:
    """Sends frames to the aligner and their faces to an analyzer."""

    def __init__(self, aligner: Replicas, *, limits: Limits) -> None:
        self._aligner, self.limits = aligner, limits
        self.stream_turns = asyncio.Semaphore(limits.max_stream_frames_at_once)
        """Held by each frame of a stream while it is worked on."""

    async def analyze(
        self,
        frames: Sequence[face_pb2.Frame],
        *,
        analyzer: Replicas,
        call: Call,
        attention: bool = False,
        name_field: Callable[[face_pb2.Frame, int], str] = field_of,
    ) -> list[AnalyzedFrame]:
        """Return what became of each frame, in their order.

        Args:
            frames: As the caller sent them.
            analyzer: Of the model version that is to answer.
            call: Its deadline is the frames' deadline.
            attention: Adds a picture of the attention maps to each face.
            name_field: What an error calls a frame.

        Raises:
            InvalidRequestError: No frame, too many or too large ones; or the only one cannot be
                used.
            AufleetError: Whatever ends the whole request: full queues, a passed deadline.
        """
        self._check(frames, name_field=name_field)

        async def analyze_one(frame: face_pb2.Frame) -> AnalyzedFrame:
            return await self.analyze_frame(
                frame, analyzer=analyzer, call=call, attention=attention
            )

        analyzed = await _map(analyze_one, frames, at_once=self.limits.max_frames_at_once)
        if len(frames) == 1:
            _refuse_unusable(analyzed[0], field_name=name_field(frames[0], 0))
        return analyzed

    def _check(
        self,
        frames: Sequence[face_pb2.Frame],
        *,
        name_field: Callable[[face_pb2.Frame, int], str],
    ) -> None:
        """Check counts and sizes before anything is decoded."""
        limits = self.limits
        if not frames:
            raise InvalidRequestError("frames: the request holds no frame", "send at least one")
        if len(frames) > limits.max_frames:
            raise InvalidRequestError(
                f"frames: {len(frames)} are too many", f"send at most {limits.max_frames}"
            )
        sizes = [size_of(frame) for frame in frames]
        for index, frame in enumerate(frames):
            self.check_size(frame, field_name=name_field(frame, index))
        if sum(sizes) > limits.max_request_bytes:
            raise InvalidRequestError(
                f"frames: {sum(sizes)} bytes together are too many",
                f"send at most {limits.max_request_bytes}",
            )

    def check_size(self, frame: face_pb2.Frame, *, field_name: str) -> None:
        """Refuse a frame of too many bytes.

        Args:
            frame: As the caller sent it.
            field_name: What an error calls it.

        Raises:
            InvalidRequestError: It is too large.
        """
        size = size_of(frame)
        if size > self.limits.max_frame_bytes:
            raise InvalidRequestError(
                f"{field_name}: {size} bytes are too many",
                f"send at most {self.limits.max_frame_bytes}",
            )

    async def analyze_frame(
        self, frame: face_pb2.Frame, *, analyzer: Replicas, call: Call, attention: bool
    ) -> AnalyzedFrame:
        """Return what became of a frame whose size has been checked.

        Args:
            frame: As the caller sent it.
            analyzer: Of the model version that is to answer.
            call: Its deadline is the frame's deadline.
            attention: Adds a picture of the attention maps to each face.

        Raises:
            AufleetError: Whatever is not the frame's own fault: full queues, a passed deadline.
        """
        refused = self._refusal_of(frame)
        if refused is not None:
            return refused
        try:
            if frame.WhichOneof("content") == "aligned":
                return await _analyze_aligned(
                    frame, analyzer=analyzer, call=call, attention=attention
                )
            return await self._analyze_photo(
                frame, analyzer=analyzer, call=call, attention=attention
            )
        except FrameError as error:
            return AnalyzedFrame(status=face_pb2.FRAME_STATUS_NOT_AN_IMAGE, message=str(error))

    def _refusal_of(self, frame: face_pb2.Frame) -> AnalyzedFrame | None:
        """Judge a frame by its header alone."""
        try:
            width, height = picture_size(_bytes_of(frame))
        except FrameError as error:
            return AnalyzedFrame(status=face_pb2.FRAME_STATUS_NOT_AN_IMAGE, message=str(error))
        if width * height <= self.limits.max_pixels and max(width, height) <= MAX_SIDE:
            return None
        return AnalyzedFrame(
            status=face_pb2.FRAME_STATUS_TOO_MANY_PIXELS,
            message=f"the picture has {width} x {height} pixels: "
            f"send at most {self.limits.max_pixels}, and at most {MAX_SIDE} along a side",
        )

    async def _analyze_photo(
        self, frame: face_pb2.Frame, *, analyzer: Replicas, call: Call, attention: bool
    ) -> AnalyzedFrame:
        located: LocatedFaces = await answer_of(
            self._aligner.locate.remote(
                frame.encoded,
                every_face=frame.faces == face_pb2.FACE_SELECTION_ALL,
                timeout_s=call.remaining_s,
            )
        )
        if not located.faces:
            return AnalyzedFrame(
                status=face_pb2.FRAME_STATUS_NO_FACE,
                message="the picture holds no face that is large enough",
                timings_ms=located.timings_ms,
            )
        judged = [
            face for face in located.faces if frame.include_ungradable or face.ungradable is None
        ]
        if not judged:
            return _frame_of(map(_not_judged, located.faces), timings_ms=located.timings_ms)
        answers: NetworkAnswers = await answer_of(
            analyzer.analyze.remote(
                [face.aligned for face in judged],
                attention=attention,
                timeout_s=call.remaining_s,
                turn=call.turn,
            )
        )
        rows = iter(range(len(judged)))
        return _frame_of(
            (
                _place(face, answers, next(rows)) if face in judged else _not_judged(face)
                for face in located.faces
            ),
            timings_ms={**located.timings_ms, "network": answers.network_ms},
        )


async def _analyze_aligned(
    frame: face_pb2.Frame, *, analyzer: Replicas, call: Call, attention: bool
) -> AnalyzedFrame:
    answers: NetworkAnswers = await answer_of(
        analyzer.analyze_encoded.remote(
            frame.aligned,
            attention=attention,
            timeout_s=call.remaining_s,
            turn=call.turn,
        )
    )
    landmarks = np.empty((0, 2)) if answers.landmarks is None else answers.landmarks[0]
    face = _face(answers, 0, box=ALIGNED_BOX, landmarks=landmarks.astype(np.float64))
    face = replace(face, ungradable=answers.ungradable)
    if face.ungradable is not None and not frame.include_ungradable:
        face = replace(face, **_NOTHING)
    return _frame_of([face], timings_ms={"network": answers.network_ms})


def _frame_of(faces: Iterable[AnalyzedFace], *, timings_ms: dict[str, float]) -> AnalyzedFrame:
    """Return the frame: fine where one of its faces can be judged, else the largest says why."""
    faces = tuple(faces)
    if any(face.ungradable is None for face in faces):
        return AnalyzedFrame(status=face_pb2.FRAME_STATUS_OK, faces=faces, timings_ms=timings_ms)
    reason = faces[0].ungradable
    assert reason is not None
    return AnalyzedFrame(
        status=face_pb2.FRAME_STATUS_UNGRADABLE,
        faces=faces,
        message=reason.message,
        ungradable=reason,
        timings_ms=timings_ms,
    )


def _not_judged(face: LocatedFace) -> AnalyzedFace:
    return AnalyzedFace(
        box=face.box,
        landmarks=face.landmarks.astype(np.float64),
        ungradable=face.ungradable,
        **_NOTHING,
    )


def _place(face: LocatedFace, answers: NetworkAnswers, row: int) -> AnalyzedFace:
    """Move an answer into the geometry of the sent frame."""
    landmarks = face.landmarks.astype(np.float64)
    if answers.landmarks is not None:
        landmarks = undo_affine(face.to_aligned, answers.landmarks[row])
    placed = _face(answers, row, box=face.box, landmarks=landmarks)
    return replace(placed, ungradable=face.ungradable)


def _face(
    answers: NetworkAnswers, row: int, *, box: Box, landmarks: NDArray[np.float64]
) -> AnalyzedFace:
    return AnalyzedFace(
        box=box,
        landmarks=landmarks,
        probabilities=answers.probabilities[row],
        side=None if answers.side is None else answers.side[row],
        regions=None if answers.regions is None else answers.regions[row],
        attention_png=None if answers.attention_png is None else answers.attention_png[row],
    )


def _refuse_unusable(analyzed: AnalyzedFrame, *, field_name: str) -> None:
    """Raise where the only frame is no picture: then the request itself is wrong.

    A picture without a face is a right request with that answer.
    """
    if analyzed.status in (
        face_pb2.FRAME_STATUS_NOT_AN_IMAGE,
        face_pb2.FRAME_STATUS_TOO_MANY_PIXELS,
    ):
        raise InvalidRequestError(f"{field_name}: {analyzed.message}")


def size_of(frame: face_pb2.Frame) -> int:
    """Return the bytes of a frame's picture."""
    return len(_bytes_of(frame))


def _bytes_of(frame: face_pb2.Frame) -> bytes:
    return frame.aligned or frame.encoded


async def _map(
    work: Callable[[face_pb2.Frame], Awaitable[_Result]],
    frames: Sequence[face_pb2.Frame],
    *,
    at_once: int,
) -> list[_Result]:
    """Work on some frames at a time; the first error ends the others and is raised."""
    if len(frames) == 1:
        return [await work(frames[0])]
    turns = asyncio.Semaphore(at_once)

    async def in_turn(frame: face_pb2.Frame) -> _Result:
        async with turns:
            return await work(frame)

    tasks = [asyncio.ensure_future(in_turn(frame)) for frame in frames]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
