"""Temperature and thresholds."""

import numpy as np
import pytest

from aufleet.registry.calibration import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    choose_thresholds,
    fit_grade_temperature,
    fit_unit_temperature,
    grade_reliability,
    reliability_of,
    unit_reliability,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_units_undoes_a_known_factor(rng, temperature):
    true_logits = rng.normal(0, 2, size=(20_000, 4))
    labels = (rng.random(true_logits.shape) < 1 / (1 + np.exp(-true_logits))).astype(np.int64)
    found = fit_unit_temperature(true_logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_of_grades_undoes_a_known_factor(rng, temperature):
    true_logits = rng.normal(0, 2, size=(20_000, 4))
    chances = np.exp(true_logits) / np.exp(true_logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    found = fit_grade_temperature(true_logits * temperature, labels)
    assert found == pytest.approx(temperature, rel=0.05)


def test_labels_that_are_not_coded_change_no_temperature(rng):
    logits = rng.normal(size=(500, 2))
    labels = (logits + rng.normal(size=logits.shape) > 0).astype(np.int64)
    more = np.concatenate([logits, np.full((100, 2), 30.0)])
    uncoded = np.concatenate([labels, np.full((100, 2), 9)])
    assert fit_unit_temperature(more, uncoded) == fit_unit_temperature(logits, labels)


def test_a_temperature_without_any_label_is_one():
    assert fit_unit_temperature(np.zeros((3, 2)), np.full((3, 2), 9)) == 1.0


def test_a_threshold_is_where_f1_is_best_and_nearest_to_a_half():
    probabilities = np.array([[0.1], [0.25], [0.35], [0.9]])
    labels = np.array([[0], [0], [1], [1]])
    assert choose_thresholds(probabilities, labels) == [0.35]


def test_thresholds_stay_in_their_bounds():
    probabilities = np.array([[0.01, 0.97], [0.02, 0.99], [0.001, 0.9]])
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    low, high = choose_thresholds(probabilities, labels)
    assert low >= LOWEST_THRESHOLD
    assert high <= HIGHEST_THRESHOLD


def test_a_unit_that_is_never_active_keeps_a_half():
    assert choose_thresholds(np.full((4, 1), 0.7), np.array([[0], [0], [9], [0]])) == [0.5]


def test_answers_that_come_true_as_often_as_they_say_are_reliable(rng):
    probabilities = rng.uniform(size=20_000)
    honest = reliability_of(probabilities, rng.uniform(size=20_000) < probabilities)
    assert honest.error < 0.02
    assert len(honest.bins) == 10
    assert sum(one.count for one in honest.bins) == 20_000
    boastful = reliability_of(np.full(100, 0.9), np.arange(100) < 60)
    assert boastful.error == pytest.approx(0.3)
    assert [(one.probability, one.share, one.count) for one in boastful.bins] == [(0.9, 0.6, 100)]


def test_what_nobody_coded_does_not_count_for_reliability():
    units = unit_reliability(np.array([[0.8, 0.8], [1.0, 0.3]]), np.array([[1, 9], [9, 0]]))
    assert [(one.probability, one.share) for one in units.bins] == [(0.3, 0.0), (0.8, 1.0)]
    grades = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.6, 0.2, 0.1], [0.9, 0.1, 0.0, 0.0]])
    found = grade_reliability(grades, np.array([0, 2, 9]))
    assert [(one.probability, one.share) for one in found.bins] == [(0.6, 0.0), (0.7, 1.0)]


def test_no_answers_are_neither_reliable_nor_an_error():
    assert reliability_of(np.zeros(0), np.zeros(0, dtype=bool)).bins == ()
