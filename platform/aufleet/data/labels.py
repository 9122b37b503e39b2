"""What a network learns from counting the labels of its training part."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import CENTRE_OFFSET
from aufleet.domain.palsy import GRADES

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelStatistics:
    """Counts over the frames of a training part, as shares; U units.

    Attributes:
        positive_rates: (U,) float64, share of the coded frames in which each unit is active; 0
            for a unit that no frame codes.
        agreement: (U, U) float64, P[i, j] = (P(a_i=1 | a_j=1) + P(a_i=0 | a_j=0)) / 2 over the
            frames that code both; 0.5, no relation, where a_j never varies (MGRR-Net, eq. 1).
        grade_rates: (4,) float64, share of the graded frames of each grade; 0 where none is graded.
        mean_shape: (49, 2) float32, mean landmarks in pixels of the 176-px centre crop.
    """

    positive_rates: NDArray[np.float64]
    agreement: NDArray[np.float64]
    grade_rates: NDArray[np.float64]
    mean_shape: NDArray[np.float32]


def count_labels(
    *, units: Labels, grades: Labels, landmarks: NDArray[np.float32]
) -> LabelStatistics:
    """Return the statistics of N frames.

    Args:
        units: (N, U) with 0, 1 or 9 (not coded).
        grades: (N,) with 0 to 3 or 9 (not graded).
        landmarks: (N, 49, 2) pixels of the aligned 200-px frame.
    """
    of_each_grade = np.array([(grades == grade).sum() for grade in GRADES], dtype=np.float64)
    mean_shape = landmarks.mean(axis=0, dtype=np.float64) - CENTRE_OFFSET
    return LabelStatistics(
        positive_rates=_share((units == 1).sum(axis=0), (units <= 1).sum(axis=0), otherwise=0.0),
        agreement=_agreement(units),
        grade_rates=_share(of_each_grade, of_each_grade.sum(), otherwise=0.0),
        mean_shape=mean_shape.astype(np.float32),
    )


def _agreement(units: Labels) -> NDArray[np.float64]:
    active = (units == 1).astype(np.float64)
    absent = (units == 0).astype(np.float64)
    coded = active + absent
    # Column j of `coded.T @ active` counts the frames with a_j = 1 that code i as well.
    both_active = _share(active.T @ active, coded.T @ active, otherwise=np.nan)
    both_absent = _share(absent.T @ absent, coded.T @ absent, otherwise=np.nan)
    agreement = (both_active + both_absent) / 2
    return np.where(np.isnan(agreement), 0.5, agreement)


def _share(part: NDArray[Any], whole: NDArray[Any], *, otherwise: float) -> NDArray[np.float64]:
    """Return part / whole, and `otherwise` where whole is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    empty = np.full(part.shape, otherwise, dtype=np.float64)
    return np.divide(part, whole, out=empty, where=whole > 0)
