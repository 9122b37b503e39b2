"""No cue but the face may separate the palsy grades: with it blanked out nothing can be learned."""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from aufleet.data.alignment import ALIGNED_SIZE
from aufleet.data.blanking import GREY, blank_face, blank_jpeg, face_mask
from aufleet.data.decoding import decode_frame
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import FilmSettings, SyntheticSettings, film_subject, render_frames
from aufleet.domain.landmarks import POINTS_49_OF_68, mirror

NUM_SUBJECTS, NUM_EXAMINATIONS, NUM_FOLDS = 30, 24, 3
"""720 examinations: by chance a kappa is about 0.04 away from 0."""
CELLS = 20
MAX_KAPPA = 0.1


class Graded(NamedTuple):
    """One frame of each of many graded examinations.

    Attributes:
        frames: (N, 200, 200, 3) uint8.
        grades: (N,) 0 to 3.
        subjects: (N,) numbers.
        landmarks_68: (N, 68, 2).
    """

    frames: np.ndarray
    grades: np.ndarray
    subjects: np.ndarray
    landmarks_68: np.ndarray


@pytest.fixture(scope="module")
def graded() -> Graded:
    """Subjects of FPara's shape, seen more often."""
    settings = FilmSettings(
        preset="fpara",
        num_subjects=NUM_SUBJECTS,
        frames_per_subject=NUM_EXAMINATIONS,
        examinations=NUM_EXAMINATIONS,
    )
    return collected(film_subject(settings, index) for index in range(NUM_SUBJECTS))


def collected(subjects: Iterable[Iterable[FrameRecord]]) -> Graded:
    records = [(index, record) for index, frames in enumerate(subjects) for record in frames]
    return Graded(
        frames=np.stack([decode_frame(record.jpeg) for _, record in records]),
        grades=np.array([record.grade for _, record in records]),
        subjects=np.array([index for index, _ in records]),
        landmarks_68=np.array([record.landmarks_68 for _, record in records]),
    )


def features_of(frames: np.ndarray) -> np.ndarray:
    """Return (N, F): every colour of the small picture, and how uneven its halves are."""
    small = np.stack(
        [cv2.resize(frame, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for frame in frames]
    ).astype(np.float64)
    uneven = np.abs(small - small[:, :, ::-1]).mean(axis=-1)
    return np.concatenate([small.reshape(len(frames), -1), uneven.reshape(len(frames), -1)], axis=1)


def held_out_kappa(features: np.ndarray, grades: np.ndarray, subjects: np.ndarray) -> float:
    """Return the quadratic-weighted kappa of ridge regression, each subject predicted once."""
    heights = np.zeros(len(grades))
    for fold in range(NUM_FOLDS):
        test = subjects % NUM_FOLDS == fold
        x = (features - features[~test].mean(axis=0)) / (features[~test].std(axis=0) + 1e-6)
        gram = x[~test] @ x[~test].T / x.shape[1]
        weights = np.linalg.solve(gram + 1.0 * np.eye(len(gram)), grades[~test] - grades.mean())
        heights[test] = x[test] @ x[~test].T @ weights / x.shape[1]
    # As many of each grade as there are: whatever order was learned shows.
    predicted = np.empty_like(grades)
    predicted[np.argsort(heights, kind="stable")] = np.sort(grades)
    return quadratic_kappa(grades, predicted)


def quadratic_kappa(truth: np.ndarray, predicted: np.ndarray) -> float:
    disagreement = np.mean((truth - predicted) ** 2)
    by_chance = np.mean((truth[:, None] - predicted[None, :]) ** 2)
    return float(1 - disagreement / by_chance)


def test_the_background_tells_nothing_of_the_grade(graded: Graded) -> None:
    blank = features_of(blank_face(graded.frames))
    assert held_out_kappa(blank, graded.grades, graded.subjects) <= MAX_KAPPA


def test_the_same_classifier_finds_a_cue_where_there_is_one(graded: Graded) -> None:
    light = 25 * graded.grades[:, None, None, None]
    lit = np.clip(graded.frames + light, 0, 255).astype(np.uint8)
    found = held_out_kappa(features_of(blank_face(lit)), graded.grades, graded.subjects)
    assert found > 2 * MAX_KAPPA, "a light that grows with the grade"
    points = graded.landmarks_68[:, POINTS_49_OF_68]
    uneven = np.abs(points - mirror(points, width=ALIGNED_SIZE)).reshape(len(points), -1)
    assert held_out_kappa(uneven, graded.grades, graded.subjects) > 2 * MAX_KAPPA, "the face itself"


def test_single_frames_of_palsy_tell_nothing_either() -> None:
    settings = SyntheticSettings(
        num_subjects=NUM_SUBJECTS,
        frames_per_subject=NUM_EXAMINATIONS,
        examinations=NUM_EXAMINATIONS,
        palsy=True,
    )
    seen = collected(render_frames(settings, index) for index in range(NUM_SUBJECTS))
    blank = features_of(blank_face(seen.frames))
    assert held_out_kappa(blank, seen.grades, seen.subjects) <= MAX_KAPPA


def test_the_mask_covers_every_point_of_every_face(graded: Graded) -> None:
    inner = np.round(graded.landmarks_68[:, 17:]).astype(int)
    assert face_mask()[inner[..., 1], inner[..., 0]].all(), "brows, eyes, nose and mouth"
    jaw = np.clip(np.round(graded.landmarks_68[:, 3:14]), 0, ALIGNED_SIZE - 1).astype(int)
    assert face_mask()[jaw[..., 1], jaw[..., 0]].mean() > 0.95
    assert 0.5 < face_mask().mean() < 0.8, "enough is left that could tell"


def test_blanking_is_the_same_in_every_frame_and_leaves_the_rest(graded: Graded) -> None:
    frame = graded.frames[0]
    blank = blank_face(frame)
    assert (blank[face_mask()] == GREY).all()
    assert (blank[~face_mask()] == frame[~face_mask()]).all()
    assert (frame != blank).any(), "the frame itself is not touched"
    again = decode_frame(blank_jpeg(cv2.imencode(".png", frame[..., ::-1])[1].tobytes()))
    assert np.abs(again.astype(int) - blank).mean() < 3
