"""Temperature and thresholds from validation predictions that no member was trained on."""

import numpy as np
from numpy.typing import NDArray

from aufleet.registry.card import Reliability, ReliabilityBin

NOT_CODED = 9
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.2, 0.8
_TEMPERATURES = (0.1, 10.0)
_NUM_BINS = 10


def fit_unit_temperature(logits: NDArray, labels: NDArray) -> float:
    """Return the temperature that minimises the negative log-likelihood of coded units.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), section 4.2.

    Args:
        logits: (N, U) log-odds.
        labels: (N, U) with 0, 1 or 9 (not coded).
    """
    coded = labels != NOT_CODED
    margins = np.where(labels[coded] == 1, logits[coded], -logits[coded]).astype(np.float64)
    return _minimise(lambda temperature: np.logaddexp(0.0, -margins / temperature).mean(), margins)


def fit_grade_temperature(logits: NDArray, labels: NDArray) -> float:
    """Return the temperature that minimises the negative log-likelihood of graded frames.

    Args:
        logits: (N, G) unnormalised log-probabilities.
        labels: (N,) grade, or 9 (not graded).
    """
    graded = labels != NOT_CODED
    scores, right = logits[graded].astype(np.float64), labels[graded].astype(np.intp)

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        totals = np.logaddexp.reduce(scaled, axis=1)
        return float((totals - scaled[np.arange(len(right)), right]).mean())

    return _minimise(loss, right)


def choose_thresholds(probabilities: NDArray, labels: NDArray) -> list[float]:
    """Return, per unit, the threshold with the best F1; of equals the one nearest to 0.5.

    They stay between 0.2 and 0.8: beyond that a few validation subjects decide too much. A unit
    that is never active in the coded frames keeps 0.5.

    Args:
        probabilities: (N, U) calibrated probabilities.
        labels: (N, U) with 0, 1 or 9 (not coded).
    """
    return [
        _choose(probabilities[coded, unit], labels[coded, unit] == 1)
        for unit in range(labels.shape[1])
        for coded in [labels[:, unit] != NOT_CODED]
    ]


def reliability_of(probabilities: NDArray, came_true: NDArray) -> Reliability:
    """Return how often answers come true, in ten bins of their probability.

    Source: Guo et al. (2017), section 2: reliability diagrams, expected calibration error.

    Args:
        probabilities: (N,) in 0 to 1.
        came_true: (N,) whether each answer was right.
    """
    bin_of = np.minimum((probabilities * _NUM_BINS).astype(np.intp), _NUM_BINS - 1)
    bins = [
        ReliabilityBin(
            probability=round(float(probabilities[mine].mean()), 4),
            share=round(float(came_true[mine].mean()), 4),
            count=int(mine.sum()),
        )
        for mine in (bin_of == number for number in range(_NUM_BINS))
        if mine.any()
    ]
    distances = [abs(one.share - one.probability) * one.count for one in bins]
    return Reliability(
        error=round(sum(distances) / max(len(probabilities), 1), 4), bins=tuple(bins)
    )


def unit_reliability(probabilities: NDArray, labels: NDArray) -> Reliability:
    """Return the reliability of units' probabilities (N, U) against labels (N, U) of 0, 1 or 9."""
    coded = labels != NOT_CODED
    return reliability_of(probabilities[coded], labels[coded] == 1)


def grade_reliability(probabilities: NDArray, labels: NDArray) -> Reliability:
    """Return the reliability of answered grades: probabilities (N, G), labels (N,) grade or 9."""
    graded = labels != NOT_CODED
    answered = probabilities[graded].argmax(axis=1)
    return reliability_of(probabilities[graded].max(axis=1), answered == labels[graded])


def _choose(probabilities: NDArray, active: NDArray) -> float:
    if not active.any():
        return 0.5
    candidates = np.round(np.arange(LOWEST_THRESHOLD, HIGHEST_THRESHOLD + 0.005, 0.01), 2)
    found = probabilities[None, :] >= candidates[:, None]
    f1 = 2 * (found & active).sum(axis=1) / (found.sum(axis=1) + active.sum())
    order = np.lexsort((np.abs(candidates - 0.5), -np.round(f1, 12)))
    return float(candidates[order[0]])


def _minimise(loss, evidence: NDArray) -> float:  # noqa: ANN001 - a callable of one float
    """Return the temperature with the least loss: golden-section search over its logarithm."""
    if evidence.size == 0:
        return 1.0
    low, high = np.log(_TEMPERATURES)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(np.exp(left)) <= loss(np.exp(right)):
            high = right
        else:
            low = left
    return float(np.round(np.exp((low + high) / 2), 4))
