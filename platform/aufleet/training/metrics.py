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
Counts = tuple[int, int, int]
"""Right answers, false alarms, misses."""


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
        accuracy: Share of right grades, or the mean of the units' shares of right answers.
        accuracy_per_label: Share of right answers per unit, or per grade against the others.
        auc: Area under the ROC curve per unit, or per grade against the others; a label that all
            frames have, or none, is left out.
        kappa: Quadratic weighted kappa of the grades; None for units.
        confusion: Frames of each true grade (row) that were given each grade (column); None for
            units.
        counts: Label -> frames that have it and were given it, that were given it wrongly, and
            that have it and were not given it: F1 over several parts together needs these.
    """

    macro_f1: float
    loss: float
    per_label: Mapping[str, float]
    constant: Mapping[str, float]
    accuracy: float
    accuracy_per_label: Mapping[str, float]
    auc: Mapping[str, float]
    counts: Mapping[str, Counts]
    kappa: float | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None


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
    right = [_accuracy(truth[mine, column], found[mine, column]) for column, mine in _each(coded)]
    return Score(
        macro_f1=_mean(per_label),
        loss=_mean(np.logaddexp(0.0, -margins)),
        per_label=dict(zip(names, per_label, strict=True)),
        constant=dict(zip(names, _f1_of_columns(truth, coded), strict=True)),
        accuracy=_mean(right),
        accuracy_per_label=dict(zip(names, right, strict=True)),
        auc=_aucs(names, truth=truth, scores=logits, known=coded),
        counts=dict(zip(names, _counts(truth, found), strict=True)),
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
    each = [_accuracy(truth == grade, found == grade) for grade in GRADES]
    names = [grade.label for grade in GRADES]
    return Score(
        macro_f1=_mean(per_label),
        loss=_mean(np.logaddexp.reduce(scores, axis=1) - right),
        per_label=dict(zip(names, per_label, strict=True)),
        constant=dict(zip(names, constant, strict=True)),
        accuracy=_accuracy(truth, found),
        accuracy_per_label=dict(zip(names, each, strict=True)),
        auc=_aucs(
            names,
            truth=_one_hot(truth),
            # Of the probability, not of the logit alone: that stands for nothing on its own.
            scores=scores - np.logaddexp.reduce(scores, axis=1, keepdims=True),
            known=np.ones((len(truth), len(GRADES)), bool),
        ),
        counts=dict(zip(names, _counts(_one_hot(truth), _one_hot(found)), strict=True)),
        kappa=_kappa(truth, found),
        confusion=_confusion(truth, found),
    )


def f1_at(probabilities: NDArray, *, labels: NDArray, threshold: float) -> float:
    """Return F1 of one unit where it counts as active from a threshold on.

    Args:
        probabilities: (N,).
        labels: (N,) with 0, 1 or 9 (not coded).
        threshold: Between 0 and 1.
    """
    coded = labels != NOT_CODED
    truth, found = (labels == 1) & coded, (probabilities >= threshold) & coded
    return _f1_of_columns(truth[:, None], found[:, None])[0]


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


def _counts(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> list[Counts]:
    """Return right answers, false alarms and misses of each column."""
    each = (truth & found, ~truth & found, truth & ~found)
    return [tuple(column) for column in np.stack([one.sum(axis=0) for one in each], 1).tolist()]


def _each(known: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return each column's number and its known rows."""
    return list(enumerate(known.T))


def _accuracy(truth: NDArray, found: NDArray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(truth, found)) if len(truth) else 0.0


def _aucs(
    names: Sequence[str], *, truth: NDArray[np.bool_], scores: NDArray, known: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the area under the ROC curve of each column in which both answers occur."""
    from sklearn.metrics import roc_auc_score

    return {
        names[column]: float(roc_auc_score(truth[mine, column], scores[mine, column]))
        for column, mine in _each(known)
        if len(np.unique(truth[mine, column])) == 2
    }


def _confusion(truth: NDArray, found: NDArray) -> tuple[tuple[int, ...], ...]:
    from sklearn.metrics import confusion_matrix

    if not len(truth):
        return ((0,) * len(GRADES),) * len(GRADES)
    table = confusion_matrix(truth, found, labels=list(map(int, GRADES)))
    return tuple(tuple(map(int, row)) for row in table)


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
