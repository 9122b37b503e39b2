"""Temperature and thresholds."""

import numpy as np
import pytest

from aufleet.registry.calibration import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    choose_thresholds,
    fit_grade_temperature,
    fit_unit_temperature,
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
