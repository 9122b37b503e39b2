"""Which examinations a palsy subject has: grades in the published proportions, one side."""

from dataclasses import dataclass

from aufleet.data.synthetic.presets import FPARA_FRAMES, FPARA_VIDEOS, Preset
from aufleet.domain.palsy import GRADES, Grade, Side, grade_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Examination:
    """One visit of a subject.

    Attributes:
        house_brackmann: Score 1 to 6.
        side: The affected side; none at score 1.
        num_frames: Of all its exercises together.
    """

    house_brackmann: int
    side: Side
    num_frames: int

    @property
    def grade(self) -> Grade:
        """The class of the score."""
        return grade_of(self.house_brackmann)


def examinations_of(index: int, *, shape: Preset, length: int) -> list[Examination]:
    """Return the examinations of a subject, the worst first: a palsy recovers.

    Args:
        index: Of the subject, from 0.
        shape: Says how many examinations there are.
        length: Frames of all of them together.
    """
    first = index * shape.examinations
    grades = [_grade_at(first + number) for number in range(shape.examinations)]
    grades.sort(reverse=True)
    # A video of a grade is as long as it is on average.
    weights = [FPARA_FRAMES[grade] / FPARA_VIDEOS[grade] for grade in grades]
    ends = [round(length * sum(weights[: n + 1]) / sum(weights)) for n in range(len(weights))]
    affected = Side.LEFT if index % 2 else Side.RIGHT
    return [
        Examination(
            house_brackmann=(score := _score(grade, index + number)),
            side=Side.NONE if score == 1 else affected,
            num_frames=end - start,
        )
        for number, (grade, start, end) in enumerate(
            zip(grades, [0, *ends[:-1]], ends, strict=True)
        )
    ]


def _score(grade: Grade, turn: int) -> int:
    return grade.house_brackmann[turn // 2 % 2]


def _grade_at(place: int) -> Grade:
    """Return the grade of one examination of all: at any number of them the proportions hold."""
    given = [0] * len(GRADES)
    grade = GRADES[0]
    for number in range(1, place % sum(FPARA_VIDEOS) + 2):
        owed = [share * number / sum(FPARA_VIDEOS) for share in FPARA_VIDEOS]
        grade = max(GRADES, key=lambda g: owed[g] - given[g])
        given[grade] += 1
    return grade
