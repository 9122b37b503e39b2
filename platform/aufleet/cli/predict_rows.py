"""The rows that are shown for a face: one per action unit or grade."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aufleet.client import Face, PalsyResult

RESEARCH_USE = "research use only, not a medical device"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One unit or one grade of a face, as it is shown.

    Attributes:
        label: "AU12", or "medium".
        name: What that means.
        probability: That it holds.
        threshold: From which a unit counts as active; None for a grade.
        holds: The unit is active, or the grade is the answer.
    """

    label: str
    name: str
    probability: float
    threshold: float | None
    holds: bool


def face_rows(face: "Face") -> list[Row]:
    """Return a row for each unit, or each grade, of a face."""
    from aufleet.domain.action_units import NAMES, label_of

    if face.palsy:
        return _grade_rows(face.palsy)
    return [
        Row(
            label=label_of(score.unit),
            name=NAMES.get(score.unit, ""),
            probability=score.probability,
            threshold=score.threshold,
            holds=score.active,
        )
        for score in face.units
    ]


def _grade_rows(palsy: "PalsyResult") -> list[Row]:
    from aufleet.domain.palsy import GRADES

    return [
        Row(
            label=grade.label,
            name="House-Brackmann " + "-".join(map(str, sorted({*grade.house_brackmann}))),
            probability=palsy.probabilities[grade.label],
            threshold=None,
            holds=grade.label == palsy.grade,
        )
        for grade in GRADES
    ]
