"""Unilateral facial palsy: what a House-Brackmann score does to the muscles of one side."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.units import (
    EYES_CLOSED,
    JAW_DROP,
    LEFT,
    MOUTH_DRAWN,
    RIGHT,
    UNITS,
    UPPER_LID_RAISER,
    Activations,
)
from aufleet.domain.palsy import Grade, Side, grade_of
from aufleet.errors import ConfigError

SEVERITY = MappingProxyType({1: 0.0, 2: 0.32, 3: 0.58, 4: 0.68, 5: 0.92, 6: 1.0})
"""House-Brackmann score -> share of the movement that is lost."""

_ROW = {unit: index for index, unit in enumerate(UNITS)}


@dataclass(frozen=True, kw_only=True)
class Palsy:
    """A paresis of one side of the face.

    Attributes:
        side: The affected side, anatomical.
        severity: Share of the movement that is lost, 0 to 1.
    """

    side: Side
    severity: float

    def __post_init__(self) -> None:
        """Refuse a severity outside of 0 to 1, and a severe palsy of no side."""
        if not 0 <= self.severity <= 1:
            raise ConfigError(f"a palsy's severity of {self.severity} lies outside of 0 to 1")
        if self.side is Side.NONE and self.severity > 0:
            raise ConfigError("a palsy needs a side", "left or right")

    @property
    def muscle_tone(self) -> NDArray[np.float64]:
        """(2,) share of the resting creases that RIGHT and LEFT keep: a limp side is smooth."""
        tone = np.ones(2)
        if self.side is not Side.NONE:
            tone[LEFT if self.side is Side.LEFT else RIGHT] -= 0.9 * self.severity
        return tone

    def apply(self, activations: Activations) -> Activations:
        """Return what the muscles do when both sides are told to do `activations`.

        Args:
            activations: (len(UNITS), 2) in 0 to 1, columns RIGHT, LEFT.

        The jaw keeps its strength: its nerve is another one. Losses at rest (drooping brow, wide
        eye) are negative activations; the mouth is drawn to the healthy side and up.
        """
        result = activations.copy()
        if self.side is Side.NONE:
            return result
        sick, well = (LEFT, RIGHT) if self.side is Side.LEFT else (RIGHT, LEFT)
        moved = [row for unit, row in _ROW.items() if unit != JAW_DROP]
        result[moved, sick] *= 1 - self.severity
        for unit, sick_share, well_share in AT_REST:
            result[_ROW[unit], sick] += sick_share * self.severity
            result[_ROW[unit], well] += well_share * self.severity
        # A lid that cannot be raised further while it is being closed.
        closing = activations[_ROW[EYES_CLOSED], sick]
        result[_ROW[UPPER_LID_RAISER], sick] *= 1 - 0.7 * closing
        return result


AT_REST = (
    # unit, activation of the sick side, of the healthy side, both at complete palsy
    (1, -0.4, 0.0),
    (2, -0.8, 0.0),
    (UPPER_LID_RAISER, 0.8, 0.0),
    (7, -0.6, 0.0),
    (12, 0.0, 0.55),
    (10, 0.0, 0.1),
    (MOUTH_DRAWN, 0.0, 0.5),
)
"""The mouth is oblique because the healthy corner rises. Were the sick one to sink, the box that
aligns a face would grow with the grade, and the head would shrink in the frame: its size alone,
with the face blanked out, told the grade (kappa 0.29; so 0.0, tests/unit/data/test_blanking.py).
"""


def house_brackmann_palsy(score: int, *, side: Side, rng: np.random.Generator) -> Palsy:
    """Return a palsy as a clinician's score stands for, a little milder or worse.

    Raises:
        DataError: The score is not in 1 to 6.
    """
    if grade_of(score) is Grade.NORMAL:
        return Palsy(side=Side.NONE, severity=0.0)
    severity = float(np.clip(SEVERITY[score] + rng.uniform(-0.05, 0.05), 0.0, 1.0))
    return Palsy(side=side, severity=severity)
