"""The frames of a data set, sent through a running service as they are stored.

They go as aligned frames: the service decodes the very bytes that the loader decodes and cuts the
same crop, so that what differs from an offline score is the service alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aufleet.client import Client, FrameResult
from aufleet.data.partition import SubjectFrames
from aufleet.domain.palsy import GRADES
from aufleet.errors import ConfigError, DataError
from aufleet.training.evaluation import Predictions
from aufleet.training.metrics import landmark_errors
from aufleet.training.scoring import Plan
from aufleet.training.trained import TrainedModel

if TYPE_CHECKING:
    from aufleet.cli.predict import ServicePlace

FRAMES_AT_ONCE = 32
"""Frames of one request."""


def ask_service(
    place: "ServicePlace",
    *,
    plan: Plan,
    model: TrainedModel,
    reference: tuple[str, str],
    progress: Callable[[int], None],
) -> Predictions:
    """Return what a running service says of the frames of a plan.

    Args:
        place: Where it is, and the token for it.
        plan: Whose frames.
        model: The same model, read from its package.
        reference: Its name and version.
        progress: Called with the number of frames of each answer.

    Raises:
        ConfigError: Another version answered.
        DataError: The service could not use a frame.
        ClientError: It refused, or gave no answer.
    """
    parts = []
    with Client(place.target, token=place.token(), root_certificates=place.ca_file) as client:
        for subject in plan.subjects:
            frames = plan.dataset.read_subject(subject)
            answers: list[FrameResult] = []
            for crops in _groups(frames.jpeg):
                answers += _ask(client, crops, plan=plan, reference=reference)
                progress(len(crops))
            _check(answers, subject=subject, version=reference[1])
            parts.append(_predictions(answers, frames, plan=plan, subject=subject))
    return Predictions(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )


def _ask(
    client: Client, crops: Sequence[bytes], *, plan: Plan, reference: tuple[str, str]
) -> Sequence[FrameResult]:
    name, version = reference
    if plan.units is None:
        return client.grade_aligned(
            crops, model=name, version=version, include_ungradable=True
        ).frames
    return client.detect_in_aligned(crops, model=name, version=version, include_ungradable=True)


def _check(answers: Sequence[FrameResult], *, subject: str, version: str) -> None:
    for number, one in enumerate(answers):
        if one.version != version:
            raise ConfigError(
                f"version {one.version} of {one.model} answered, not {version}",
                "wait until the service has loaded it, or name the version that is served",
            )
        # Offline, a blurred frame counts as any other.
        if one.status not in {"OK", "UNGRADABLE"}:
            raise DataError(
                f"the service says {one.status} of frame {number} of subject {subject} "
                f"({one.message})",
                "the data set holds a frame that is no picture of 200 x 200 pixels",
            )


def _predictions(
    answers: Sequence[FrameResult], frames: SubjectFrames, *, plan: Plan, subject: str
) -> dict[str, NDArray]:
    """Return the columns of `Predictions` for the frames of a subject."""
    manifest = plan.dataset.manifest
    start = sum(one.num_frames for one in manifest.partitions if one.subject < subject)
    columns = [manifest.units.index(unit) for unit in plan.units or manifest.units]
    probabilities = np.array([_row(one, plan) for one in answers], dtype=np.float32)
    return {
        "index": start + np.arange(len(answers), dtype=np.int64),
        "logits": _logits(probabilities, exclusive=plan.units is None),
        "probabilities": probabilities,
        "units": frames.units[:, columns].astype(np.int64),
        "grade": np.asarray(frames.grade, dtype=np.int64),
        "landmark_error": _landmark_errors(answers, frames),
    }


def _row(answer: FrameResult, plan: Plan) -> list[float]:
    face = answer.faces[0]
    if plan.units is None:
        assert face.palsy is not None
        return [face.palsy.probabilities[grade.label] for grade in GRADES]
    found = {score.unit: score.probability for score in face.units}
    return [found[unit] for unit in plan.units]


def _logits(probabilities: NDArray[np.float32], *, exclusive: bool) -> NDArray[np.float32]:
    """Return what gives these probabilities; 0 and 1 stand for the last number before them."""
    known = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-7)
    return (np.log(known) - (0 if exclusive else np.log1p(-known))).astype(np.float32)


def _landmark_errors(answers: Sequence[FrameResult], frames: SubjectFrames) -> NDArray[np.float64]:
    found = [one.faces[0].landmarks for one in answers]
    if not all(found):
        return np.full(len(answers), np.nan)
    return landmark_errors(np.array(found), np.asarray(frames.landmarks))


def _groups(jpegs: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(jpegs), FRAMES_AT_ONCE):
        yield jpegs[start : start + FRAMES_AT_ONCE]
