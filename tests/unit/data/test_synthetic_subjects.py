import hashlib
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from aufleet.data.alignment import alignment_of
from aufleet.data.decoding import decode_frame
from aufleet.data.records import FrameRecord
from aufleet.data.synthetic import SyntheticSettings, render_subject, render_subjects
from aufleet.data.synthetic.expressions import EXERCISES, draw_intensities
from aufleet.domain.action_units import NAMES
from aufleet.errors import ConfigError

UNITS = tuple(NAMES)


def settings(**changes: object) -> SyntheticSettings:
    values = {"num_subjects": 2, "frames_per_subject": 3, "seed": 5}
    return SyntheticSettings(**{**values, **changes})


def digest(records: list[FrameRecord]) -> str:
    return hashlib.sha256(b"".join(record.jpeg for record in records)).hexdigest()


def test_the_same_settings_give_the_same_bytes_in_another_process() -> None:
    name, records = render_subject(settings(), 1)
    assert name == "S0002"
    program = (
        "import hashlib; from aufleet.data.synthetic import *;"
        "_, r = render_subject(SyntheticSettings(num_subjects=2, frames_per_subject=3, seed=5), 1);"
        "print(hashlib.sha256(b''.join(x.jpeg for x in r)).hexdigest())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    )
    assert answer.stdout.strip() == digest(records)


def test_seed_and_subject_change_the_frames() -> None:
    first = digest(render_subject(settings(), 0)[1])
    assert first != digest(render_subject(settings(), 1)[1])
    assert first != digest(render_subject(settings(seed=6), 0)[1])


def test_subjects_come_one_by_one_as_they_are_asked_for() -> None:
    names = [name for name, _ in render_subjects(settings(frames_per_subject=1))]
    assert names == ["S0001", "S0002"]


def test_a_record_holds_the_aligned_frame_and_its_exact_points() -> None:
    for record in render_subject(settings(units=UNITS), 0)[1]:
        assert decode_frame(record.jpeg).shape == (200, 200, 3)
        assert record.landmark_source == "exact"
        assert record.landmarks.min() > 0
        assert record.landmarks.max() < 199
        # Aligning what is aligned changes nothing.
        assert alignment_of(record.landmarks) == pytest.approx(np.eye(3)[:2], abs=1e-2)
        assert record.intensities is not None
        assert record.units == tuple(int(level >= 2) for level in record.intensities)
        assert (record.grade, record.side) == (9, "")


def test_units_are_labelled_in_the_order_that_was_asked_for() -> None:
    one = render_subject(settings(units=(12, 1)), 0)[1]
    other = render_subject(settings(units=(1, 12)), 0)[1]
    assert [record.units for record in one] == [record.units[::-1] for record in other]


def test_every_unit_is_present_in_about_three_frames_of_ten() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_intensities(rng) for _ in range(4000)]
    for unit in NAMES:
        rate = np.mean([intensities[unit] >= 2 for intensities in drawn])
        assert 0.22 < rate < 0.4, unit
    together = np.mean([d[6] >= 2 and d[12] >= 2 for d in drawn])
    assert together > 1.5 * 0.3 * 0.3, "6 and 12 belong together"


def test_pressed_lips_never_part_and_a_dropped_jaw_parts_them() -> None:
    rng = np.random.default_rng(1)
    for _ in range(500):
        drawn = {unit: level >= 2 for unit, level in draw_intensities(rng).items()}
        assert not ((drawn[23] or drawn[24]) and drawn[25])
        assert drawn[25] or not drawn[26]


def test_every_subject_is_examined_at_every_grade() -> None:
    asked = settings(palsy=True, num_subjects=8, frames_per_subject=28)
    sides, scores = Counter(), Counter()
    for _, records in render_subjects(asked):
        assert Counter(record.grade for record in records) == {0: 7, 1: 7, 2: 7, 3: 7}
        assert {record.exercise for record in records} == set(EXERCISES)
        affected = {record.side for record in records if record.grade}
        assert len(affected) == 1
        assert {record.side for record in records if not record.grade} == {"none"}
        sides.update(affected)
        scores.update({record.house_brackmann for record in records})
    assert sides == {"left": 4, "right": 4}
    assert scores == {1: 8, 2: 8, 3: 4, 4: 4, 5: 4, 6: 4}


def test_with_one_examination_grades_are_spread_over_subjects() -> None:
    asked = settings(palsy=True, num_subjects=16, frames_per_subject=1, examinations=1)
    first = [records[0] for _, records in render_subjects(asked)]
    assert Counter(record.grade for record in first) == {0: 4, 1: 4, 2: 4, 3: 4}
    assert Counter(record.house_brackmann for record in first) == {
        1: 4,
        2: 4,
        3: 2,
        4: 2,
        5: 2,
        6: 2,
    }
    for grade in (1, 2, 3):
        assert {record.side for record in first if record.grade == grade} == {"left", "right"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_subjects": 0}, "num_subjects is 0"),
        ({"frames_per_subject": 0}, "frames_per_subject is 0"),
        ({"examinations": 0}, "examinations is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"units": (1, 3)}, "action unit 3 cannot be rendered"),
        ({"units": (1, 1)}, "each unit once"),
        ({"units": ()}, "at least one"),
    ],
)
def test_settings_that_cannot_be_rendered_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**changes)


def test_there_are_only_as_many_subjects_as_were_asked_for() -> None:
    with pytest.raises(ConfigError, match="no subject 2 of 2"):
        render_subject(settings(), 2)


def test_units_can_be_learned_and_hold_for_other_subjects() -> None:
    asked = settings(num_subjects=15, frames_per_subject=40, units=UNITS, seed=11)
    shapes, labels, subjects = [], [], []
    for name, records in render_subjects(asked):
        shapes += [record.landmarks.reshape(-1) for record in records]
        labels += [record.units for record in records]
        subjects += [name] * len(records)
    x, y, test = np.array(shapes), np.array(labels), np.array(subjects) > "S0010"
    x = (x - x[~test].mean(axis=0)) / x[~test].std(axis=0)
    x = np.column_stack([x, np.ones(len(x))])
    # Ridge regression from the landmarks alone: the least that a network should reach.
    gram = x[~test].T @ x[~test] + 30 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[~test].T @ (2 * y[~test] - 1))
    present, truth = x[test] @ weights > -0.25, y[test] == 1
    f1 = 2 * (present & truth).sum(axis=0) / (present.sum(axis=0) + truth.sum(axis=0))
    rate = truth.mean(axis=0)
    assert f1.mean() > (2 * rate / (1 + rate)).mean() + 0.2
