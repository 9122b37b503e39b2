"""Subjects of a synthetic data set: who they are, what they do, and the frames of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from aufleet.data.records import FrameRecord
from aufleet.data.synthetic.expressions import (
    EXERCISES,
    Intensities,
    activations_of,
    draw_effort,
    draw_intensities,
)
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.palsy import house_brackmann_palsy
from aufleet.data.synthetic.render import FaceModel, RenderedFace
from aufleet.data.synthetic.scene import Scene, draw_scene, move_scene
from aufleet.data.synthetic.settings import SyntheticSettings
from aufleet.data.synthetic.units import POSITIVE_INTENSITY
from aufleet.domain.palsy import GRADES, NOT_GRADED, Side, grade_of
from aufleet.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class _Sequence:
    """Frames that share a scene; score 0 where nobody graded the face."""

    name: str
    num_frames: int
    exercise: str = ""
    house_brackmann: int = 0
    side: str = ""

    @property
    def grade(self) -> int:
        return int(grade_of(self.house_brackmann)) if self.house_brackmann else NOT_GRADED


def render_subjects(settings: SyntheticSettings) -> Iterator[tuple[str, list[FrameRecord]]]:
    """Yield every subject with its frames, rendered when it is asked for."""
    for index in range(settings.num_subjects):
        yield render_subject(settings, index)


def render_subject(settings: SyntheticSettings, index: int) -> tuple[str, list[FrameRecord]]:
    """Return the name and the frames of one subject; the same arguments give the same bytes.

    Args:
        settings: The data set.
        index: 0 to num_subjects - 1.

    Raises:
        ConfigError: There is no such subject.
        EnvironmentProblem: The face mesh is not installed.
    """
    frames = list(render_frames(settings, index))
    return settings.subjects[index], frames


def render_frames(settings: SyntheticSettings, index: int) -> Iterator[FrameRecord]:
    """Yield the frames of one subject; as `render_subject`, each when it is asked for."""
    if not 0 <= index < settings.num_subjects:
        raise ConfigError(f"there is no subject {index} of {settings.num_subjects}")
    rng = np.random.default_rng([settings.seed, index])
    subject = settings.subjects[index]
    model = FaceModel(draw_identity(rng))
    plan = _plan_examinations if settings.palsy else _plan_tasks
    for sequence in plan(settings, index):
        if sequence.house_brackmann:
            side = Side(sequence.side)
            model = model.with_palsy(
                house_brackmann_palsy(sequence.house_brackmann, side=side, rng=rng)
            )
        yield from _render_sequence(model, sequence, settings=settings, subject=subject, rng=rng)


def _render_sequence(
    model: FaceModel,
    sequence: _Sequence,
    *,
    settings: SyntheticSettings,
    subject: str,
    rng: np.random.Generator,
) -> Iterator[FrameRecord]:
    scene = draw_scene(rng)
    for frame in range(sequence.num_frames):
        scene = move_scene(scene, rng)
        intensities = _act(sequence, rng)
        face = model.render_aligned(activations_of(intensities, rng=rng), scene, rng=rng)
        levels = [intensities.get(unit, 0) for unit in settings.units]
        yield FrameRecord(
            subject=subject,
            sequence=sequence.name,
            frame=frame,
            jpeg=encode_frame(face, scene),
            landmarks=face.landmarks,
            landmarks_68=face.landmarks_68,
            landmark_source="exact",
            units=tuple(int(level >= POSITIVE_INTENSITY) for level in levels),
            intensities=tuple(levels),
            house_brackmann=sequence.house_brackmann,
            grade=sequence.grade,
            side=sequence.side,
            exercise=sequence.exercise,
        )


def _act(sequence: _Sequence, rng: np.random.Generator) -> Intensities:
    if sequence.exercise:
        return draw_effort(sequence.exercise, rng)
    return draw_intensities(rng)


def _plan_tasks(settings: SyntheticSettings, index: int) -> Iterator[_Sequence]:
    """Yield the sequences of a healthy subject, who does the same as every other one."""
    for number, num_frames in enumerate(
        _portions(settings.frames_per_subject, settings.frames_per_sequence), start=1
    ):
        yield _Sequence(name=f"T{number}", num_frames=num_frames)


def _plan_examinations(settings: SyntheticSettings, index: int) -> Iterator[_Sequence]:
    """Yield the exercises of a subject's examinations."""
    affected = Side.LEFT if (index // len(GRADES) + index) % 2 else Side.RIGHT
    for number in range(settings.examinations):
        low, high = GRADES[(index + number) % len(GRADES)].house_brackmann
        score = (low, high)[(index // len(GRADES) + number // len(GRADES)) % 2]
        share = share_of(settings.frames_per_subject, settings.examinations, number)
        # Examinations too short for all exercises begin with another one each.
        for place in range(len(EXERCISES)):
            exercise = list(EXERCISES)[(place + index + 3 * number) % len(EXERCISES)]
            if num_frames := share_of(share, len(EXERCISES), place):
                yield _Sequence(
                    name=f"E{number + 1} {exercise}",
                    num_frames=num_frames,
                    exercise=exercise,
                    house_brackmann=score,
                    side=(Side.NONE if score == 1 else affected).value,
                )


def _portions(total: int, size: int) -> list[int]:
    """Return the sizes of portions of `size`, the last one smaller where it must be."""
    return [min(size, total - start) for start in range(0, total, size)]


def share_of(total: int, num_parts: int, part: int) -> int:
    """Return how many of `total` fall to one of `num_parts` nearly equal parts."""
    return total // num_parts + (part < total % num_parts)


def encode_frame(face: RenderedFace, scene: Scene) -> bytes:
    """Return the frame as a JPEG of the quality that the scene's camera writes."""
    done, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(face.frame, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality],
    )
    assert done
    return data.tobytes()
