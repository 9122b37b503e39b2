"""Requests from arguments and results from responses, shared by both clients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aufleet.api.v1 import face_analysis_service_pb2 as service
from aufleet.api.v1 import face_pb2, model_pb2
from aufleet.client.results import (
    Box,
    Face,
    FrameResult,
    Model,
    PalsyResult,
    RegionValue,
    SeriesResult,
    UnitScore,
)
from aufleet.errors import ConfigError

Image = bytes | str | Path
TASKS = {"au": model_pb2.TASK_ACTION_UNITS, "palsy": model_pb2.TASK_PALSY}
_GRADES = {
    face_pb2.PALSY_GRADE_NORMAL: "normal",
    face_pb2.PALSY_GRADE_LOW: "low",
    face_pb2.PALSY_GRADE_MEDIUM: "medium",
    face_pb2.PALSY_GRADE_HIGH: "high",
}
_Response = (
    service.DetectActionUnitsResponse | service.GradePalsyResponse | service.AnalyzeStreamResponse
)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a caller wants of a picture beside the answer."""

    mirrored: bool = False
    """It is a mirror image: sides are swapped back."""
    all_faces: bool = False
    """Not the largest alone."""
    include_attention: bool = False
    """A picture of where the network looked."""
    include_ungradable: bool = False
    """Answers for faces that must not be judged, too."""


def frame(image: Image, wishes: Wishes) -> face_pb2.Frame:
    """Return the frame of a picture given as bytes or as the path of a file.

    Raises:
        ConfigError: The file cannot be read.
    """
    if not isinstance(image, bytes):
        try:
            image = Path(image).read_bytes()
        except OSError as error:
            raise ConfigError(f"{image} cannot be read: {error.strerror}") from error
    largest, every = face_pb2.FACE_SELECTION_LARGEST, face_pb2.FACE_SELECTION_ALL
    return face_pb2.Frame(
        encoded=image,
        mirrored=wishes.mirrored,
        faces=every if wishes.all_faces else largest,
        include_ungradable=wishes.include_ungradable,
    )


def aligned_frames(
    crops: Sequence[bytes], *, include_ungradable: bool = False
) -> list[face_pb2.Frame]:
    """Return the frames of aligned faces, JPEG or PNG of 200 x 200 pixels."""
    return [face_pb2.Frame(aligned=crop, include_ungradable=include_ungradable) for crop in crops]


def units_request(
    image: Image, wishes: Wishes, *, model: str, version: str
) -> service.DetectActionUnitsRequest:
    """Return the request for the action units of one picture."""
    return service.DetectActionUnitsRequest(
        frames=[frame(image, wishes)],
        model=model,
        version=version,
        include_attention=wishes.include_attention,
    )


def palsy_request(
    images: Sequence[Image], wishes: Wishes, *, model: str, version: str
) -> service.GradePalsyRequest:
    """Return the request for the palsy grade of pictures of one patient."""
    return service.GradePalsyRequest(
        frames=[frame(image, wishes) for image in images],
        model=model,
        version=version,
        include_attention=wishes.include_attention,
    )


def frame_result(response: _Response, result: face_pb2.FrameResult) -> FrameResult:
    """Return one frame's answer together with who gave it."""
    return FrameResult(
        id=result.id,
        status=face_pb2.FrameStatus.Name(result.status).removeprefix("FRAME_STATUS_"),
        ungradable_reason=_reason(result.ungradable_reason),
        faces=tuple(map(_face, result.faces)),
        message=result.message,
        model=response.model,
        version=response.version,
        request_id=response.request_id,
        timings_ms=dict(response.timings_ms),
        research_use_only=response.research_use_only,
    )


def stream_result(response: service.AnalyzeStreamResponse) -> FrameResult:
    """Return the answer of one frame of a stream."""
    return replace(frame_result(response, response.frame), time_s=response.time_s)


def first_result(
    response: service.DetectActionUnitsResponse | service.GradePalsyResponse,
) -> FrameResult:
    """Return the answer of a request for one frame."""
    return frame_result(response, response.frames[0])


def series_result(response: service.GradePalsyResponse) -> SeriesResult:
    """Return the answers of a request for several frames."""
    return SeriesResult(
        frames=tuple(frame_result(response, result) for result in response.frames),
        pooled=_palsy(response.pooled) if response.HasField("pooled") else None,
        num_frames_used=response.num_frames_used,
    )


def unit_results(response: service.DetectActionUnitsResponse) -> list[FrameResult]:
    """Return the answers of a request for several frames."""
    return [frame_result(response, result) for result in response.frames]


def models(found: Sequence[model_pb2.Model]) -> list[Model]:
    """Return the served models."""
    return [model(each) for each in found]


def model(found: model_pb2.Model) -> Model:
    """Return one served model."""
    return Model(
        name=found.name,
        version=found.version,
        task=next((name for name, task in TASKS.items() if task == found.task), ""),
        architecture=found.architecture,
        aliases=tuple(found.aliases),
        units=tuple(found.units),
        digest=found.digest,
        ready=found.ready,
        has_side=found.has_side,
        has_regions=found.has_regions,
    )


def _reason(reason: "face_pb2.UngradableReason") -> str:
    if not reason:
        return ""
    return face_pb2.UngradableReason.Name(reason).removeprefix("UNGRADABLE_REASON_")


def _face(face: face_pb2.Face) -> Face:
    box = face.box
    return Face(
        box=Box(x=box.x, y=box.y, width=box.width, height=box.height),
        landmarks=tuple((point.x, point.y) for point in face.landmarks),
        units=tuple(
            UnitScore(
                unit=score.unit,
                probability=score.probability,
                threshold=score.threshold,
                active=score.active,
            )
            for score in face.units
        ),
        palsy=_palsy(face.palsy) if face.HasField("palsy") else None,
        attention_png=face.attention_png if face.HasField("attention_png") else None,
        ungradable_reason=_reason(face.ungradable_reason),
    )


def _palsy(palsy: face_pb2.PalsyResult) -> PalsyResult:
    probabilities = palsy.probabilities
    return PalsyResult(
        grade=_GRADES.get(palsy.grade, ""),
        probabilities={
            "normal": probabilities.normal,
            "low": probabilities.low,
            "medium": probabilities.medium,
            "high": probabilities.high,
        },
        house_brackmann_min=palsy.house_brackmann_min,
        house_brackmann_max=palsy.house_brackmann_max,
        side=(
            face_pb2.Side.Name(palsy.side).removeprefix("SIDE_").lower()
            if palsy.HasField("side")
            else None
        ),
        regions=tuple(
            RegionValue(region=value.region, impairment=value.impairment) for value in palsy.regions
        ),
    )
