"""Subjects of a data set in the shape of a published one: videos whose frames belong together.

Pose, gaze, light and expression change smoothly from frame to frame; labels follow the momentary
intensity. A smaller data set shows the same length of time with fewer frames a second.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aufleet.data.records import FrameRecord
from aufleet.data.synthetic.courses import (
    Clock,
    Levels,
    Manner,
    SpontaneousFace,
    blinks,
    exercise_course,
    labels_of,
    smooth_noise,
)
from aufleet.data.synthetic.draw import encode_frame, share_of
from aufleet.data.synthetic.expressions import draw_effort
from aufleet.data.synthetic.grading import Examination, examinations_of
from aufleet.data.synthetic.house_brackmann import graded_palsy
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.presets import PRESETS, Parts, Preset
from aufleet.data.synthetic.render import FaceModel
from aufleet.data.synthetic.scene import MAX_ANGLE_DEG, Scene, draw_scene
from aufleet.data.synthetic.units import EYES_CLOSED, MAX_INTENSITY, POSITIVE_INTENSITY
from aufleet.errors import ConfigError

_POSE_SWAY_DEG = np.array([3.0, 2.2, 2.0])[:, None]
_GAZE_SWAY_DEG = 3.0
_POSE_S, _GAZE_S, _LIGHT_S = 0.7, 0.25, 2.0
_LIGHT_SWAY = 0.015
_EYES_ROLL_UP_DEG = 22.0
"""Bell's phenomenon: who closes the eyes turns them up, seen where a lid does not close."""


@dataclass(frozen=True, kw_only=True)
class FilmSettings:
    """A data set in the shape of a published one; the same settings give the same bytes.

    Attributes:
        preset: A key of PRESETS.
        num_subjects: How many people; None: as published.
        frames_per_subject: Frames of each; None: as published.
        seed: Decides everything that is drawn.
        examinations: Of each subject, where subjects are examined; None: as published.
    """

    preset: str
    num_subjects: int | None = None
    frames_per_subject: int | None = None
    seed: int = 0
    examinations: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered.

        Raises:
            ConfigError: There is no such preset, or a number is too small.
        """
        if self.preset not in PRESETS:
            raise ConfigError(
                f"there is no preset {self.preset!r}", f"choose from {', '.join(PRESETS)}"
            )
        for name, value in (("subjects", self.count), ("frames per subject", self.length)):
            if value < 1:
                raise ConfigError(f"{value} {name} cannot be rendered", "at least 1 is needed")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}", "it cannot be negative")
        if self.examinations is not None and not PRESETS[self.preset].examinations:
            raise ConfigError(f"nobody is examined in {self.preset}", "leave examinations out")
        if self.examinations is not None and self.examinations < 1:
            raise ConfigError(f"{self.examinations} examinations show nobody", "give at least 1")

    @property
    def shape(self) -> Preset:
        """What it is shaped like."""
        published = PRESETS[self.preset]
        if self.examinations is None:
            return published
        return replace(published, examinations=self.examinations)

    @property
    def count(self) -> int:
        """Number of subjects."""
        return self.shape.num_subjects if self.num_subjects is None else self.num_subjects

    @property
    def length(self) -> int:
        """Frames of each subject."""
        given = self.frames_per_subject
        return self.shape.frames_per_subject if given is None else given

    @property
    def subjects(self) -> tuple[str, ...]:
        """Their names."""
        return self.shape.subjects(self.count)

    @property
    def parts(self) -> Parts | None:
        """The three parts of the subjects, where the published folds fix them."""
        return self.shape.parts_of(self.count)


@dataclass(frozen=True, kw_only=True)
class _Take:
    """One video: what it is called, when its frames are, and what is told of the face."""

    name: str
    clock: Clock
    exercise: str = ""
    examination: Examination | None = None

    def told(self) -> dict[str, object]:
        """Return the columns of its frames that do not change."""
        if self.examination is None:
            return {"sequence": self.name}
        return {
            "sequence": self.name,
            "house_brackmann": self.examination.house_brackmann,
            "grade": int(self.examination.grade),
            "side": self.examination.side.value,
            "exercise": self.exercise,
        }


def film_subject(settings: FilmSettings, index: int) -> Iterator[FrameRecord]:
    """Yield the frames of one subject in order; the same arguments give the same bytes.

    Args:
        settings: The data set.
        index: 0 to count - 1.

    Raises:
        ConfigError: There is no such subject.
        EnvironmentProblem: The face mesh is not installed.
    """
    if not 0 <= index < settings.count:
        raise ConfigError(f"there is no subject {index} of {settings.count}")
    rng = np.random.default_rng([settings.seed, index])
    subject = settings.subjects[index]
    model = FaceModel(draw_identity(rng, male=_sex_of(subject)))
    actor = _Actor(settings, index, rng=rng)
    scene, seen = draw_scene(rng), None
    for take in _takes(settings, index):
        # An examination is one visit: the camera stands where it stands.
        if take.examination is None or take.examination is not seen:
            scene, seen = draw_scene(rng), take.examination
            if seen:
                palsy = graded_palsy(seen.house_brackmann, side=seen.side, rng=rng)
                model = model.with_palsy(palsy)
        yield from _film(model, actor, take, scene=scene, subject=subject, rng=rng)


class _Actor:
    """What one subject does, and how it looks when this subject does it."""

    def __init__(self, settings: FilmSettings, index: int, *, rng: np.random.Generator) -> None:
        shares = settings.shape.shares
        self.units = settings.shape.units
        self.manner = Manner(rng)
        self._own = (
            None if shares is None else SpontaneousFace(shares, seed=settings.seed, index=index)
        )

    def act(self, take: _Take, rng: np.random.Generator) -> Levels:
        """Return the intensities over a take."""
        if self._own:
            return _without_contradictions(self._own.act(take.clock, rng=rng), coded=self.units)
        return exercise_course(draw_effort(take.exercise, rng), take.clock, rng=rng)


def _without_contradictions(levels: Levels, *, coded: tuple[int, ...]) -> Levels:
    """Return intensities that one face can show: a dropped jaw parts the lips, pressing does not.

    Of two units that exclude each other the one that is not coded gives way, so that the coded
    ones keep their shares.
    """
    parted = np.maximum(levels[25], levels[26])
    pressed = levels[24]
    if 25 in coded:
        return {**levels, 25: parted, 24: pressed * np.clip(1 - parted / 1.5, 0, 1)}
    closed = np.clip(1 - pressed / 1.5, 0, 1)
    return {**levels, 25: parted * closed, 26: levels[26] * closed}


def _film(
    model: FaceModel,
    actor: _Actor,
    take: _Take,
    *,
    scene: Scene,
    subject: str,
    rng: np.random.Generator,
) -> Iterator[FrameRecord]:
    levels = actor.act(take, rng)
    closing = levels.get(EYES_CLOSED, np.zeros(take.clock.num_frames)) / MAX_INTENSITY
    shut = np.maximum(closing, blinks(take.clock, rng=rng))
    activations = actor.manner.activations({**levels, EYES_CLOSED: MAX_INTENSITY * shut})
    resting = np.zeros(take.clock.num_frames, dtype=np.int64)
    labels = np.stack(
        [labels_of(levels[unit]) if unit in levels else resting for unit in actor.units], axis=1
    )
    scenes = _scenes(scene, take.clock, closing=closing, rng=rng)
    for place, (tick, now) in enumerate(zip(take.clock.ticks, scenes, strict=True)):
        face = model.render_aligned(activations[place], now, rng=rng)
        yield FrameRecord(
            subject=subject,
            frame=int(tick) + 1,
            jpeg=encode_frame(face, now),
            landmarks=face.landmarks,
            landmarks_68=face.landmarks_68,
            landmark_source="exact",
            units=tuple(int(level >= POSITIVE_INTENSITY) for level in labels[place]),
            intensities=tuple(map(int, labels[place])),
            **take.told(),  # pyright: ignore[reportArgumentType] - names and types of the record
        )


def _scenes(
    scene: Scene, clock: Clock, *, closing: NDArray[np.float64], rng: np.random.Generator
) -> Iterator[Scene]:
    """Yield what the camera sees at each frame: head and eyes sway, the light hardly."""
    sway = _POSE_SWAY_DEG * smooth_noise(3, clock, lasts_s=_POSE_S, rng=rng)
    gaze = _GAZE_SWAY_DEG * smooth_noise(2, clock, lasts_s=_GAZE_S, rng=rng)
    light = 1 + _LIGHT_SWAY * smooth_noise(1, clock, lasts_s=_LIGHT_S, rng=rng)[0]
    gaze[1] += _EYES_ROLL_UP_DEG * closing
    for place in range(clock.num_frames):
        yield replace(
            scene,
            pose_deg=np.clip(scene.pose_deg + sway[:, place], -MAX_ANGLE_DEG, MAX_ANGLE_DEG),
            gaze_deg=scene.gaze_deg + gaze[:, place],
            key=scene.key * light[place],
            sky=scene.sky * light[place],
            ground=scene.ground * light[place],
        )


def _takes(settings: FilmSettings, index: int) -> Iterator[_Take]:
    """Yield what a subject does, in order."""
    shape = settings.shape
    if not shape.examinations:
        yield from _of_length(settings.length, shape=shape, first=index)
        return
    graded = examinations_of(index, shape=shape, length=settings.length)
    for number, examination in enumerate(graded, start=1):
        # Examinations too short for all exercises begin with another one each.
        first = index + 3 * number
        for take in _of_length(examination.num_frames, shape=shape, first=first):
            yield replace(
                take,
                name=f"E{number} {take.name}",
                exercise=take.name,
                examination=examination,
            )


def _of_length(num_frames: int, *, shape: Preset, first: int) -> Iterator[_Take]:
    """Yield all sequences with so many frames together, some with none where there are few."""
    total = len(shape.sequences)
    whole = shape.frames_per_subject // (total * max(shape.examinations, 1))
    lengths: Mapping[str, int] = {
        shape.sequences[(place + first) % total]: share_of(num_frames, total, place)
        for place in range(total)
    }
    for name in shape.sequences:
        if length := lengths[name]:
            stride = max(whole // length, 1)
            yield _Take(
                name=name,
                clock=Clock(num_frames=length, rate_hz=shape.rate_hz, stride=stride),
            )


def _sex_of(subject: str) -> bool | None:
    """Return whether a name of BP4D is a man's; None where names do not tell."""
    return {"F": False, "M": True}.get(subject[0])
