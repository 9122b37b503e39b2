"""How right predictions are, beside what the best constant answer would get.

Frames whose label is 9 (not coded, not graded) count nowhere. F1 is 0 where it is undefined.
scikit-learn is imported where it is used: it takes a second, which drivers need not wait for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aufleet.domain.action_units import NOT_CODED, label_of
from aufleet.domain.landmarks import inter_ocular_distance
from aufleet.domain.palsy import GRADES, NOT_GRADED

THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Score:
    """How right the predictions of some frames are.

    Attributes:
        macro_f1: Mean of `per_label`.
        loss: Mean negative log-likelihood of the labels in nats. It is not the network's own loss:
            so networks compare, and it does not depend on how frames were put into batches.
        per_label: F1 of each unit at 0.5, or of each grade against the others.
        constant: The same of the best constant answer: always or never for a unit (2r/(1+r) or 0
            at a share r of active frames), the one grade with the best macro F1.
        accuracy: Share of right grades; None for units.
        kappa: Quadratic weighted kappa of the grades; None for units.
    """

    macro_f1: float
    loss: float
    per_label: Mapping[str, float]
    constant: Mapping[str, float]
    accuracy: float | None = None
    kappa: float | None = None


def score_units(
    *, logits: NDArray, probabilities: NDArray, labels: NDArray, units: Sequence[int]
) -> Score:
    """Return how right the units of N frames are.

    Args:
        logits: (N, U) log-odds.
        probabilities: (N, U).
        labels: (N, U) with 0, 1 or 9 (not coded).
        units: (U,) the numbers of the units.
    """
    coded = labels != NOT_CODED
    truth = (labels == 1) & coded
    names = [label_of(unit) for unit in units]
    found = (probabilities >= THRESHOLD) & coded
    margins = np.where(labels[coded] == 1, logits[coded], -logits[coded]).astype(np.float64)
    per_label = _f1_of_columns(truth, found)
    return Score(
        macro_f1=_mean(per_label),
        loss=_mean(np.logaddexp(0.0, -margins)),
        per_label=dict(zip(names, per_label, strict=True)),
        constant=dict(zip(names, _f1_of_columns(truth, coded), strict=True)),
    )


def score_grades(*, logits: NDArray, labels: NDArray) -> Score:
    """Return how right the palsy grades of N frames are.

    Args:
        logits: (N, 4) unnormalised log-probabilities.
        labels: (N,) grade 0 to 3, or 9 (not graded).
    """
    graded = labels != NOT_GRADED
    truth, scores = labels[graded].astype(np.intp), logits[graded].astype(np.float64)
    found = scores.argmax(axis=1) if len(scores) else truth
    per_label = _f1_of_columns(_one_hot(truth), _one_hot(found))
    always = _f1_of_columns(_one_hot(truth), np.ones((len(truth), len(GRADES)), bool))
    constant = [f1 if grade == np.argmax(always) else 0.0 for grade, f1 in enumerate(always)]
    right = scores[np.arange(len(truth)), truth]
    return Score(
        macro_f1=_mean(per_label),
        loss=_mean(np.logaddexp.reduce(scores, axis=1) - right),
        per_label={grade.label: per_label[grade] for grade in GRADES},
        constant={grade.label: constant[grade] for grade in GRADES},
        accuracy=_mean(truth == found),
        kappa=_kappa(truth, found),
    )


def landmark_errors(predicted: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """Return, per frame, the mean point distance over the true inter-ocular distance, in percent.

    Args:
        predicted: (N, 49, 2) pixels.
        truth: (N, 49, 2) in the same pixels.
    """
    distances = np.linalg.norm(predicted - truth, axis=-1).mean(axis=-1)
    return 100.0 * distances.astype(np.float64) / inter_ocular_distance(truth)


def _f1_of_columns(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> list[float]:
    """Return F1 of each column; a frame that is False in both counts nowhere."""
    if not len(truth):
        return [0.0] * truth.shape[1]
    from sklearn.metrics import f1_score

    # A further column, dropped again: scikit-learn reads a single one as two classes.
    truth, found = (np.pad(one, ((0, 0), (0, 1))) for one in (truth, found))
    return f1_score(truth, found, average=None, zero_division=0.0).tolist()[:-1]  # pyright: ignore


def _one_hot(grades: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.eye(len(GRADES), dtype=bool)[grades]


def _kappa(truth: NDArray, found: NDArray) -> float:
    from sklearn.metrics import cohen_kappa_score

    # Undefined where one grade is all there is and all that is found: no agreement beyond chance.
    if len(np.union1d(truth, found)) < 2:
        return 0.0
    return float(
        cohen_kappa_score(truth, found, labels=list(map(int, GRADES)), weights="quadratic")
    )


def _mean(values: Sequence[float] | NDArray) -> float:
    return float(np.mean(values)) if len(values) else 0.0
