"""From the pipeline's numbers to the messages of `aufleet.api.v1`."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aufleet.api.v1 import face_pb2, model_pb2
from aufleet.domain.palsy import REGION_NAMES, Grade
from aufleet.serving.exchange import ModelFacts, Reason, Task, Ungradable
from aufleet.serving.pipeline import AnalyzedFace, AnalyzedFrame
from aufleet.serving.routing import Route

TASKS: dict[Task, "model_pb2.Task"] = {
    "au": model_pb2.TASK_ACTION_UNITS,
    "palsy": model_pb2.TASK_PALSY,
}
SIDES = (face_pb2.SIDE_NONE, face_pb2.SIDE_PATIENT_LEFT, face_pb2.SIDE_PATIENT_RIGHT)
"""In the order of a network's side head."""
MIRRORED_SIDES = (face_pb2.SIDE_NONE, face_pb2.SIDE_PATIENT_RIGHT, face_pb2.SIDE_PATIENT_LEFT)
REASONS: dict[Reason, "face_pb2.UngradableReason"] = {
    "pose": face_pb2.UNGRADABLE_REASON_POSE,
    "blur": face_pb2.UNGRADABLE_REASON_BLUR,
    "occlusion": face_pb2.UNGRADABLE_REASON_OCCLUSION,
}
SMALLEST_PROBABILITY = 1e-12


def unit_frame(
    sent: face_pb2.Frame, analyzed: AnalyzedFrame, *, facts: ModelFacts, units: Collection[int]
) -> face_pb2.FrameResult:
    """Return the answer for a frame of `DetectActionUnits`.

    Args:
        sent: The caller's frame.
        analyzed: What became of it.
        facts: Of the model.
        units: The units that were asked for; empty for all.
    """
    faces = []
    for face in analyzed.faces:
        message = _face(face)
        if face.probabilities.size == 0:
            faces.append(message)
            continue
        message.units.extend(
            face_pb2.UnitScore(
                unit=unit,
                probability=float(probability),
                threshold=threshold,
                active=bool(probability >= threshold),
            )
            for unit, threshold, probability in zip(
                facts.units, facts.thresholds, face.probabilities, strict=True
            )
            if not units or unit in units
        )
        faces.append(message)
    return _frame(sent, analyzed, faces)


def palsy_frame(sent: face_pb2.Frame, analyzed: AnalyzedFrame) -> face_pb2.FrameResult:
    """Return the answer for a frame of `GradePalsy`."""
    faces = []
    for face in analyzed.faces:
        message = _face(face)
        if face.probabilities.size:
            message.palsy.CopyFrom(palsy_result(face.probabilities))
        if face.side is not None:
            sides = MIRRORED_SIDES if sent.mirrored else SIDES
            message.palsy.side = sides[int(face.side.argmax())]
        if face.regions is not None:
            message.palsy.regions.extend(_regions(face.regions, mirrored=sent.mirrored))
        faces.append(message)
    return _frame(sent, analyzed, faces)


def palsy_result(probabilities: NDArray[np.floating]) -> face_pb2.PalsyResult:
    """Return the grade of (4,) probabilities."""
    grade = Grade(int(probabilities.argmax()))
    low, high = grade.house_brackmann
    named = {each.label: float(probabilities[each]) for each in Grade}
    return face_pb2.PalsyResult(
        grade=f"PALSY_GRADE_{grade.name}",
        probabilities=face_pb2.GradeProbabilities(**named),
        house_brackmann_min=low,
        house_brackmann_max=high,
    )


def pooled_palsy(frames: Sequence[AnalyzedFrame]) -> tuple[face_pb2.PalsyResult | None, int]:
    """Return the grade of several frames together, and how many it rests on.

    The grade's probabilities are the normalised exponentials of the mean log-probabilities of the
    largest face of each frame in which that one can be graded: a smaller one may be somebody else.
    """
    largest = [frame.faces[0] for frame in frames if frame.faces]
    rows = [face.probabilities for face in largest if face.ungradable is None]
    if len(frames) < 2 or not rows:
        return None, len(rows)
    if len(rows) == 1:
        return palsy_result(rows[0]), 1  # to the bit what its frame says
    logs = np.log(np.maximum(np.stack(rows).astype(np.float64), SMALLEST_PROBABILITY))
    pooled = np.exp(logs.mean(axis=0))
    return palsy_result(pooled / pooled.sum()), len(rows)


def model_message(route: Route, facts: ModelFacts | None) -> model_pb2.Model:
    """Return what is known of a served version."""
    message = model_pb2.Model(
        name=route.name,
        version=route.version,
        aliases=route.aliases,
        task=TASKS[route.task],
        ready=facts is not None,
    )
    if facts is not None:
        message.architecture = facts.architecture
        message.units.extend(facts.units)
        message.digest = facts.weights_sha256
        message.has_side = facts.has_side
        message.has_regions = facts.has_regions
    return message


def slowest(frames: Sequence[AnalyzedFrame], *, total_ms: float) -> dict[str, float]:
    """Return the time of each stage for the frame that took longest in it, and the total."""
    stages: dict[str, float] = {}
    for frame in frames:
        for stage, time_ms in frame.timings_ms.items():
            stages[stage] = max(stages.get(stage, 0.0), time_ms)
    return {**stages, "total": total_ms}


def _frame(
    sent: face_pb2.Frame, analyzed: AnalyzedFrame, faces: Sequence[face_pb2.Face]
) -> face_pb2.FrameResult:
    return face_pb2.FrameResult(
        id=sent.id,
        status=analyzed.status,
        ungradable_reason=_reason(analyzed.ungradable),
        faces=faces,
        message=analyzed.message,
    )


def _regions(
    impairments: NDArray[np.floating], *, mirrored: bool
) -> Iterator[face_pb2.RegionValue]:
    """Yield the regions by the patient's own sides.

    The network names them by the picture's, where the patient's right is left unless it is
    mirrored.
    """
    for name, impairment in zip(REGION_NAMES, impairments, strict=True):
        side, _, part = name.partition(" ")
        if not mirrored:
            side = "right" if side == "left" else "left"
        yield face_pb2.RegionValue(
            region=f"{part.replace(' ', '_')}_{side}", impairment=float(impairment)
        )


def _reason(ungradable: Ungradable | None) -> "face_pb2.UngradableReason":
    if ungradable is None:
        return face_pb2.UNGRADABLE_REASON_UNSPECIFIED
    return REASONS[ungradable.reason]


def _face(face: AnalyzedFace) -> face_pb2.Face:
    x, y, width, height = face.box
    return face_pb2.Face(
        box=face_pb2.Box(x=x, y=y, width=width, height=height),
        landmarks=[face_pb2.Point(x=x, y=y) for x, y in face.landmarks.tolist()],
        attention_png=face.attention_png,
        ungradable_reason=_reason(face.ungradable),
    )
