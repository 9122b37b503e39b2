"""Data sets in the shape of published ones: subjects, units, frequencies, sequences, folds."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType

from aufleet.data.synthetic.expressions import EXERCISES
from aufleet.data.synthetic.frequencies import BP4D_SHARES, DISFA_SHARES, Shares
from aufleet.domain.action_units import BP4D_UNITS
from aufleet.domain.disfa import CODED_UNITS
from aufleet.domain.folds import BP4D_PARTS, DISFA_PARTS, NUM_FOLDS

Parts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The shape of a data set.

    Attributes:
        units: The labelled action units, in the order of the labels.
        num_subjects: As published.
        frames_per_subject: As published, rounded up: subjects here are alike long.
        rate_hz: Frames a second of its videos.
        parts: The subjects' published names in their three parts; None where subjects are split
            by grade and side.
        sequences: Names of what every subject does, a video each; of an examination where there
            are examinations.
        shares: How often and how strongly units act; None where subjects do exercises.
        examinations: Of each subject, with another grade where they can; 0: nobody is graded.
    """

    units: tuple[int, ...]
    num_subjects: int
    frames_per_subject: int
    rate_hz: float
    parts: Parts | None
    sequences: tuple[str, ...]
    shares: Shares | None = None
    examinations: int = 0

    def subjects(self, count: int) -> tuple[str, ...]:
        """Return the names of so many subjects; more than published ones continue the numbers."""
        if self.parts is None:
            return tuple(f"P{index + 1:03d}" for index in range(count))
        # One of each part in turn, so that few subjects fill the parts evenly too.
        published = [name for row in zip_longest(*self.parts) for name in row if name]
        return tuple((published + _further_names(published, count - len(published)))[:count])

    def parts_of(self, count: int) -> Parts | None:
        """Return the three parts of so many subjects; None where nothing fixes them."""
        if self.parts is None:
            return None
        names = self.subjects(count)
        return tuple(names[part::NUM_FOLDS] for part in range(NUM_FOLDS))


def _further_names(published: list[str], count: int) -> list[str]:
    """Return names behind the last number of each kind of name: F024, M019, F025, ..."""
    kinds = sorted({name.rstrip("0123456789") for name in published})
    last = {
        kind: max(int(name.removeprefix(kind)) for name in published if name[: len(kind)] == kind)
        for kind in kinds
    }
    names = []
    for index in range(count):
        kind = kinds[index % len(kinds)]
        last[kind] += 1
        names.append(f"{kind}{last[kind]:03d}")
    return names


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        # 146,847 frames in 328 videos of eight tasks.
        "bp4d": Preset(
            units=BP4D_UNITS,
            num_subjects=41,
            frames_per_subject=3582,
            rate_hz=25,
            parts=tuple(map(tuple, BP4D_PARTS)),
            sequences=tuple(f"T{task}" for task in range(1, 9)),
            shares=BP4D_SHARES,
        ),
        # One video of four minutes each.
        "disfa": Preset(
            units=CODED_UNITS,
            num_subjects=27,
            frames_per_subject=4845,
            rate_hz=20,
            parts=tuple(map(tuple, DISFA_PARTS)),
            sequences=("left",),
            shares=DISFA_SHARES,
        ),
        # 89 examinations, 47,585 frames; how many subjects is not published.
        "fpara": Preset(
            units=BP4D_UNITS,
            num_subjects=30,
            frames_per_subject=1586,
            rate_hz=25,
            parts=None,
            sequences=tuple(EXERCISES),
            examinations=3,
        ),
    }
)
"""Name -> shape."""

FPARA_VIDEOS = (20, 29, 20, 20)
"""Examinations of each grade."""
FPARA_FRAMES = (9_049, 16_970, 11_019, 10_547)
"""Frames of each grade."""
