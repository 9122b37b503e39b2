import hashlib
import os
import subprocess
import sys
from itertools import groupby

import numpy as np
import pytest

from aufleet.data.alignment import alignment_of
from aufleet.data.decoding import decode_frame
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import EXERCISES, PRESETS, FilmSettings, film_subject
from aufleet.data.synthetic.courses import Clock, blinks, exercise_course, labels_of, smooth_noise
from aufleet.domain.landmarks import inter_ocular_distance
from aufleet.errors import ConfigError


def film(preset: str, *, frames: int, index: int = 1, subjects: int = 9) -> list[FrameRecord]:
    settings = FilmSettings(preset=preset, num_subjects=subjects, frames_per_subject=frames, seed=3)
    return list(film_subject(settings, index))


def sequences(records: list[FrameRecord]) -> dict[str, list[FrameRecord]]:
    return {name: list(group) for name, group in groupby(records, key=lambda r: r.sequence)}


@pytest.fixture(scope="module")
def examined() -> list[FrameRecord]:
    """One subject of FPara's shape: three examinations, seven exercises of ten frames each."""
    return film("fpara", frames=210)


def test_the_same_film_has_the_same_bytes_in_another_process() -> None:
    program = (
        "import hashlib; from aufleet.data.synthetic import *;"
        "s = FilmSettings(preset='disfa', num_subjects=9, frames_per_subject=3, seed=3);"
        "print(hashlib.sha256(b''.join(r.jpeg for r in film_subject(s, 1))).hexdigest())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    )
    here = hashlib.sha256(b"".join(r.jpeg for r in film("disfa", frames=3))).hexdigest()
    assert answer.stdout.strip() == here


def test_frames_are_aligned_and_carry_their_labels() -> None:
    records = film("disfa", frames=4)
    units = PRESETS["disfa"].units
    assert [record.frame for record in records] == [1, 1212, 2423, 3634]
    for record in records:
        assert decode_frame(record.jpeg).shape == (200, 200, 3)
        assert alignment_of(record.landmarks) == pytest.approx(np.eye(3)[:2], abs=1e-2)
        assert record.intensities is not None
        assert len(record.units) == len(record.intensities) == len(units)
        assert record.units == tuple(int(level >= 2) for level in record.intensities)
        assert (record.grade, record.side, record.exercise) == (9, "", "")


def test_a_small_film_shows_the_tasks_in_turn() -> None:
    assert list(sequences(film("bp4d", frames=8))) == [f"T{task}" for task in range(1, 9)]
    assert len(sequences(film("bp4d", frames=3))) == 3


def test_frames_of_a_film_belong_together() -> None:
    # At full rate: the frames of one task follow each other within 40 ms.
    records = sequences(film("bp4d", frames=8 * 40))["T1"][:20]
    strided = film("bp4d", frames=8)
    shapes = np.stack([record.landmarks for record in records])
    eyes = np.mean([inter_ocular_distance(shape) for shape in shapes])
    step = np.linalg.norm(np.diff(shapes, axis=0), axis=-1).mean() / eyes
    others = np.stack([record.landmarks for record in strided])
    jump = np.linalg.norm(np.diff(others, axis=0), axis=-1).mean() / eyes
    assert step < 0.35 * jump
    frames = np.stack([decode_frame(record.jpeg).astype(float) for record in records])
    corner = frames[:, :12, :12].mean(axis=(1, 2, 3))
    assert np.abs(np.diff(corner)).max() < 12, "light and background stay"


def test_an_exercise_rises_to_an_apex_and_falls_back(examined: list[FrameRecord]) -> None:
    for name, records in sequences(examined).items():
        exercise = records[0].exercise
        assert name.endswith(exercise)
        told = np.array([max(record.intensities or (0,)) for record in records])
        if not set(EXERCISES[exercise]) & set(PRESETS["fpara"].units):
            assert not told.any(), "rest, and units that are not coded"
            continue
        assert told[0] == 0
        assert told[-1] <= 1
        assert told.max() >= 2
        apex = int(told.argmax())
        assert (np.diff(told[: apex + 1]) >= 0).all()
        assert 2 <= apex <= 7


def test_one_frame_of_an_exercise_shows_its_apex() -> None:
    for record in film("fpara", frames=21):
        if record.exercise == "smile":
            assert record.units[PRESETS["fpara"].units.index(12)] == 1


def test_an_examination_keeps_score_side_light_and_background(examined: list[FrameRecord]) -> None:
    visits = {"E1": [], "E2": [], "E3": []}
    for record in examined:
        visits[record.sequence[:2]].append(record)
    for records in visits.values():
        assert len({(record.house_brackmann, record.side) for record in records}) == 1
        assert {record.exercise for record in records} == set(EXERCISES)
        corners = [decode_frame(r.jpeg)[:10, :10].mean(axis=(0, 1)) for r in records[::10]]
        assert np.ptp(corners, axis=0).max() < 40
    scores = [records[0].house_brackmann for records in visits.values()]
    assert scores == sorted(scores, reverse=True)


def test_as_many_examinations_as_are_asked_for() -> None:
    settings = FilmSettings(
        preset="fpara", num_subjects=6, frames_per_subject=8, seed=3, examinations=8
    )
    records = list(film_subject(settings, 0))
    assert [record.sequence[:2] for record in records] == [f"E{n}" for n in range(1, 9)]
    assert {record.grade for record in records} == {0, 1, 2, 3}


def test_labels_round_momentary_intensities() -> None:
    assert labels_of(np.array([0, 0.49, 0.5, 1.49, 1.5, 4.5, 5])).tolist() == [0, 0, 1, 1, 2, 5, 5]


def test_noise_is_smooth_and_keeps_its_variance_at_any_stride() -> None:
    rng = np.random.default_rng(0)
    for stride in (1, 50):
        clock = Clock(num_frames=4000, rate_hz=25, stride=stride)
        noise = smooth_noise(2, clock, lasts_s=0.5, rng=rng)
        assert noise.std() == pytest.approx(1, abs=0.1)
        steps = np.diff(noise, axis=1).std()
        assert steps < 0.12 if stride == 1 else steps > 1


def test_eyes_blink_now_and_then_and_briefly() -> None:
    shut = blinks(Clock(num_frames=25 * 600, rate_hz=25), rng=np.random.default_rng(0))
    starts = int(((shut[1:] > 0.5) & (shut[:-1] <= 0.5)).sum())
    assert 100 < starts < 220
    assert np.mean(shut > 0.5) < 0.06
    assert shut.max() == pytest.approx(1, abs=0.1)


def test_an_exercise_of_any_length_reaches_the_effort() -> None:
    for num_frames in (1, 5, 75):
        course = exercise_course(
            {12: 5, 6: 3}, Clock(num_frames=num_frames, rate_hz=25), rng=np.random.default_rng(1)
        )
        assert labels_of(course[12]).max() == 5
        assert labels_of(course[6]).max() == 3


def test_there_are_only_as_many_subjects_as_were_asked_for() -> None:
    with pytest.raises(ConfigError, match="no subject 9 of 9"):
        film("bp4d", frames=1, index=9)
