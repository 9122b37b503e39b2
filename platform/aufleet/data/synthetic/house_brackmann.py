"""What a clinician finds at each House-Brackmann score, and what the face then does.

Source: House and Brackmann, "Facial nerve grading system" (1985): forehead, eye and mouth suffer
differently, the face is even at rest up to score 4, the eye still closes with effort at score 3 but
not at score 4, and synkinesis comes with the middle scores.
"""

from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from aufleet.data.synthetic.palsy import AT_REST, Palsy
from aufleet.data.synthetic.units import (
    EYES_CLOSED,
    JAW_DROP,
    LEFT,
    LIP_PUCKER,
    MOUTH_DRAWN,
    RIGHT,
    UNITS,
    UPPER_LID_RAISER,
    Activations,
)
from aufleet.domain.palsy import Grade, Side, grade_of

_ROW = {unit: index for index, unit in enumerate(UNITS)}
_FOREHEAD = [_ROW[unit] for unit in (1, 2, 4)]
_EYE = [_ROW[6], _ROW[7]]
_CLOSING = _ROW[EYES_CLOSED]
_SPARED = (_ROW[JAW_DROP], _ROW[UPPER_LID_RAISER])
"""Other nerves move the jaw and lift the lid."""
_MOUTH = [row for row in range(len(UNITS)) if row not in (*_FOREHEAD, *_EYE, _CLOSING, *_SPARED)]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Shares in 0 to 1.

    Attributes:
        forehead, eye, mouth: Share of the movement that is lost there.
        effort: Share of the eye's loss that closing it tightly makes up for.
        rest: How uneven the resting face is: 1 at complete palsy.
        synkinesis: How strongly eye and mouth move along with each other.
    """

    forehead: float
    eye: float
    effort: float
    mouth: float
    rest: float
    synkinesis: float


FINDINGS = MappingProxyType(
    {
        1: Findings(forehead=0.0, eye=0.0, effort=0.0, mouth=0.0, rest=0.0, synkinesis=0.0),
        2: Findings(forehead=0.35, eye=0.06, effort=1.0, mouth=0.3, rest=0.04, synkinesis=0.1),
        3: Findings(forehead=0.65, eye=0.3, effort=1.0, mouth=0.5, rest=0.1, synkinesis=0.4),
        4: Findings(forehead=0.97, eye=0.68, effort=0.12, mouth=0.72, rest=0.16, synkinesis=0.6),
        5: Findings(forehead=1.0, eye=0.82, effort=0.1, mouth=0.92, rest=0.75, synkinesis=0.05),
        6: Findings(forehead=1.0, eye=0.95, effort=0.0, mouth=1.0, rest=1.0, synkinesis=0.0),
    }
)
"""House-Brackmann score -> findings."""


@dataclass(frozen=True, kw_only=True)
class GradedPalsy(Palsy):
    """A paresis of one side as a score describes it; `severity` is what the resting face lost."""

    findings: Findings

    def apply(self, activations: Activations) -> Activations:
        """Return what the muscles do when both sides are told to do `activations`.

        Args:
            activations: (len(UNITS), 2) in 0 to 1, columns RIGHT, LEFT.
        """
        result = activations.copy()
        if self.side is Side.NONE:
            return result
        found = self.findings
        sick, well = (LEFT, RIGHT) if self.side is Side.LEFT else (RIGHT, LEFT)
        told = activations[:, sick]
        closing, smiling = told[_CLOSING], max(told[_ROW[12]], told[_ROW[LIP_PUCKER]])
        effort = found.effort * min(told[_ROW[7]] / 0.8, 1.0)
        result[_FOREHEAD, sick] *= 1 - found.forehead
        result[_EYE, sick] *= 1 - found.eye
        result[_CLOSING, sick] *= 1 - found.eye * (1 - effort)
        result[_MOUTH, sick] *= 1 - found.mouth
        for unit, sick_share, well_share in AT_REST:
            result[_ROW[unit], sick] += sick_share * found.rest
            result[_ROW[unit], well] += well_share * found.rest
        # Nothing holds the mouth against the healthy side's pull.
        result[_ROW[MOUTH_DRAWN], well] += 0.5 * found.mouth * smiling
        result[_ROW[12], sick] += 0.6 * found.synkinesis * closing
        result[_ROW[17], sick] += 0.3 * found.synkinesis * closing
        result[_CLOSING, sick] += 0.9 * found.synkinesis * smiling
        # A lid that cannot be raised further while it is being closed.
        result[_ROW[UPPER_LID_RAISER], sick] *= 1 - 0.7 * min(closing, 1.0)
        result[:, sick] = np.minimum(result[:, sick], 1.2)
        return result


def graded_palsy(score: int, *, side: Side, rng: np.random.Generator) -> GradedPalsy:
    """Return a palsy as a clinician's score stands for, a little milder or worse.

    Raises:
        DataError: The score is not in 1 to 6.
    """
    if grade_of(score) is Grade.NORMAL:
        return GradedPalsy(side=Side.NONE, severity=0.0, findings=FINDINGS[1])
    typical = FINDINGS[score]
    drawn = {field.name: _around(getattr(typical, field.name), rng) for field in fields(Findings)}
    return GradedPalsy(side=side, severity=drawn["rest"], findings=Findings(**drawn))


def _around(share: float, rng: np.random.Generator) -> float:
    return float(np.clip(share * rng.uniform(0.88, 1.12), 0.0, 1.0))
