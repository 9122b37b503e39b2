from collections import Counter

import numpy as np
import pytest

from aufleet.data.synthetic import PRESETS, FilmSettings
from aufleet.data.synthetic.courses import Clock, SpontaneousFace, labels_of
from aufleet.data.synthetic.expressions import EXERCISES
from aufleet.data.synthetic.frequencies import BP4D_SHARES, DISFA_SHARES, togetherness
from aufleet.data.synthetic.grading import examinations_of
from aufleet.data.synthetic.presets import FPARA_FRAMES, FPARA_VIDEOS
from aufleet.domain.action_units import BP4D_UNITS, DISFA_UNITS
from aufleet.domain.folds import BP4D_PARTS, DISFA_PARTS
from aufleet.domain.palsy import Side
from aufleet.errors import ConfigError

# Balance weights of the published training lists, parts 1+2, 1+3 and 2+3 (specs/models.md 1.6).
BP4D_WEIGHTS = [
    [1.343, 1.690, 1.248, 0.561, 0.433, 0.436, 0.457, 0.541, 1.408, 0.723, 1.493, 1.667],
    [1.191, 1.337, 1.247, 0.559, 0.468, 0.418, 0.440, 0.582, 1.670, 0.774, 1.586, 1.727],
    [1.133, 1.520, 1.309, 0.552, 0.507, 0.443, 0.474, 0.535, 1.496, 0.750, 1.583, 1.699],
]
DISFA_WEIGHTS = [
    [1.422, 2.348, 0.400, 0.795, 1.878, 0.440, 0.196, 0.521],
    [1.390, 1.470, 0.527, 1.034, 1.673, 0.657, 0.304, 0.945],
    [1.511, 1.560, 0.476, 0.885, 1.657, 0.571, 0.278, 1.063],
]
# How units of BP4D go together: A[i][j] r[j] (1 - r[j]) is their covariance (6.2).
BP4D_TOGETHER = {
    (1, 2): 0.502,
    (6, 7): 0.538,
    (6, 12): 0.544,
    (10, 12): 0.520,
    (4, 12): -0.215,
    (15, 17): 0.232,
    (17, 24): 0.556,
    (23, 24): 0.274,
}


def drawn_labels(preset: str, *, seed: int = 0) -> np.ndarray:
    """Return the intensities (U, N) that the full-sized preset's coded units show."""
    shape = PRESETS[preset]
    assert shape.shares is not None
    per_video = shape.frames_per_subject // len(shape.sequences)
    clock = Clock(num_frames=per_video, rate_hz=shape.rate_hz)
    columns = []
    for index in range(shape.num_subjects):
        rng = np.random.default_rng([seed, index])
        face = SpontaneousFace(shape.shares, seed=seed, index=index)
        for _ in shape.sequences:
            levels = face.act(clock, rng=rng)
            columns.append(np.stack([labels_of(levels[unit]) for unit in shape.units]))
    return np.concatenate(columns, axis=1)


@pytest.mark.parametrize(
    ("shares", "units", "weights", "tolerance"),
    [
        (BP4D_SHARES, BP4D_UNITS, BP4D_WEIGHTS, 0.02),
        (DISFA_SHARES, DISFA_UNITS, DISFA_WEIGHTS, 0.08),
    ],
    ids=["bp4d", "disfa"],
)
def test_the_frequencies_give_the_published_weights_back(
    shares: dict, units: tuple[int, ...], weights: list, tolerance: float
) -> None:
    inverse = 1 / np.array([shares[unit][1] for unit in units])
    ours = len(units) * inverse / inverse.sum()
    assert ours == pytest.approx(np.mean(weights, axis=0), rel=tolerance)


@pytest.mark.parametrize("preset", ["bp4d", "disfa"])
def test_every_unit_acts_as_often_as_published(preset: str) -> None:
    shape = PRESETS[preset]
    assert shape.shares is not None
    labels = drawn_labels(preset)
    for row, unit in enumerate(shape.units):
        for level in range(1, 6):
            share, published = np.mean(labels[row] >= level), shape.shares[unit][level - 1]
            assert abs(share - published) < 0.04, (unit, level)
        assert np.mean(labels[row] >= 2) == pytest.approx(shape.shares[unit][1], rel=0.25), unit


def test_units_go_together_as_in_bp4d() -> None:
    present = drawn_labels("bp4d") >= 2
    for (one, other), published in BP4D_TOGETHER.items():
        first, second = (present[BP4D_UNITS.index(unit)] for unit in (one, other))
        # Cov(i, j) / Var(j), with the published shares.
        measured = np.cov(first, second)[0, 1] / second.var()
        assert measured == pytest.approx(published, abs=0.08), (one, other)


def test_intensities_of_every_unit_are_possible_together() -> None:
    every = tuple(dict.fromkeys([*BP4D_SHARES, *DISFA_SHARES]))
    assert np.linalg.eigvalsh(togetherness(every)).min() > 0
    together = togetherness((12, 6))
    assert together.tolist() == [[1.0, 0.76], [0.76, 1.0]]


def test_presets_have_the_published_subjects_and_folds() -> None:
    bp4d, disfa = FilmSettings(preset="bp4d"), FilmSettings(preset="disfa")
    assert bp4d.parts == tuple(map(tuple, BP4D_PARTS))
    assert disfa.parts == tuple(map(tuple, DISFA_PARTS))
    assert bp4d.count * bp4d.length == pytest.approx(146_847, abs=41)
    assert disfa.count * disfa.length == pytest.approx(130_814, abs=27)
    assert len(bp4d.shape.sequences) == 8
    assert FilmSettings(preset="fpara").parts is None


@pytest.mark.parametrize("count", [6, 7, 40, 45])
def test_a_preset_of_any_size_has_three_even_parts(count: int) -> None:
    settings = FilmSettings(preset="bp4d", num_subjects=count)
    assert settings.parts is not None
    assert sorted(sum(settings.parts, ())) == sorted(set(settings.subjects))
    sizes = [len(part) for part in settings.parts]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    published = [set(part) for part in BP4D_PARTS]
    for part, expected in zip(settings.parts, published, strict=True):
        assert set(part[:13]) <= expected


def test_subjects_beyond_the_published_ones_continue_their_numbers() -> None:
    assert FilmSettings(preset="bp4d", num_subjects=44).subjects[41:] == ("F024", "M019", "F025")
    assert FilmSettings(preset="disfa", num_subjects=28).subjects[27:] == ("SN033",)


@pytest.mark.parametrize("num_subjects", [6, 30, 200])
def test_examinations_have_the_published_proportions_of_grades(num_subjects: int) -> None:
    shape = PRESETS["fpara"]
    exams, frames, sides = Counter(), Counter(), Counter()
    for index in range(num_subjects):
        for exam in examinations_of(index, shape=shape, length=shape.frames_per_subject):
            exams[exam.grade] += 1
            frames[exam.grade] += exam.num_frames
            sides[exam.side] += 1
            assert (exam.side is Side.NONE) == (exam.house_brackmann == 1)
    total = num_subjects * shape.examinations
    for grade, videos in enumerate(FPARA_VIDEOS):
        assert exams[grade] == pytest.approx(total * videos / sum(FPARA_VIDEOS), abs=1)
        published = FPARA_FRAMES[grade] / sum(FPARA_FRAMES)
        assert frames[grade] / sum(frames.values()) == pytest.approx(published, abs=0.05)
    assert sides[Side.LEFT] == pytest.approx(sides[Side.RIGHT], rel=0.25)


def test_a_palsy_recovers_and_stays_on_its_side() -> None:
    shape = PRESETS["fpara"]
    scores = Counter()
    for index in range(60):
        exams = examinations_of(index, shape=shape, length=100)
        grades = [exam.grade for exam in exams]
        assert grades == sorted(grades, reverse=True)
        assert len({exam.side for exam in exams} - {Side.NONE}) == 1
        assert sum(exam.num_frames for exam in exams) == 100
        scores.update(exam.house_brackmann for exam in exams)
    assert set(scores) == {1, 2, 3, 4, 5, 6}
    assert scores[3] == pytest.approx(scores[4], abs=8)
    assert scores[5] == pytest.approx(scores[6], abs=8)


def test_every_subject_does_every_exercise() -> None:
    assert set(PRESETS["fpara"].sequences) == set(EXERCISES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "ck"}, "no preset 'ck'.*bp4d, disfa, fpara"),
        ({"num_subjects": 0}, "0 subjects"),
        ({"frames_per_subject": 0}, "0 frames per subject"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_films_that_cannot_be_made_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FilmSettings(**{"preset": "bp4d", **changes})
