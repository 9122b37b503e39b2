"""What faces do: units in co-occurring groups, and the exercises of a palsy examination."""

from collections.abc import Mapping

import numpy as np

from aufleet.data.synthetic.units import (
    EYES_CLOSED,
    LIP_PUCKER,
    LIP_STRETCHER,
    MAX_INTENSITY,
    POSITIVE_INTENSITY,
    STRENGTH,
    UNITS,
    Activations,
)
from aufleet.domain.action_units import NAMES

Intensities = Mapping[int, int]
"""Unit -> 0 to 5; units that are not named rest."""

_GROUPS = ((6, 12), (1, 2), (4, 7), (15, 17), (23, 24), (25, 26), (9, 10), (14,))
_GROUP_RATE = 0.24
"""How often a group acts."""
_MEMBER_RATE = 0.85
"""How often a member joins its acting group."""
_LONE_RATE = 0.13
"""How often a unit acts on its own."""
_TRACE_RATE = 0.15
"""How often a unit that is absent leaves a trace (intensity 1)."""
_POSITIVE_SHARES = (0.25, 0.3, 0.25, 0.2)
"""Of the intensities 2 to 5."""
_POSITIVE_SHARES_UP_TO = np.cumsum(_POSITIVE_SHARES)

_NUM_DRAWN = UNITS.index(LIP_STRETCHER)
"""Units that single frames show; more draws would change every picture of a seed."""

EXERCISES: Mapping[str, Intensities] = {
    "rest": {},
    "raise brows": {1: 5, 2: 5},
    "close eyes gently": {EYES_CLOSED: 5},
    "close eyes tightly": {EYES_CLOSED: 5, 6: 4, 7: 5, 4: 3},
    "scrunch": {9: 5, 4: 4, 10: 3, 7: 2},
    "smile": {12: 5, 6: 3, 25: 3},
    "pucker": {LIP_PUCKER: 5},
}
"""Exercise -> what both sides are told to do."""


def draw_intensities(rng: np.random.Generator) -> dict[int, int]:
    """Return what a healthy face does: each unit is present in about three frames of ten."""
    present = {unit: rng.random() < _LONE_RATE for unit in NAMES}
    for group in _GROUPS:
        if rng.random() < _GROUP_RATE:
            for unit in group:
                present[unit] |= rng.random() < _MEMBER_RATE
    # Lips that are pressed together cannot part.
    if (present[23] or present[24]) and (present[25] or present[26]):
        for unit in (23, 24) if rng.random() < 0.5 else (25, 26):
            present[unit] = False
    present[25] |= present[26]
    return {unit: _draw_level(present[unit], rng) for unit in present}


def _draw_level(present: bool, rng: np.random.Generator) -> int:
    if not present:
        return int(rng.random() < _TRACE_RATE)
    # What `rng.choice` draws with these shares, at a tenth of the time.
    return POSITIVE_INTENSITY + int(_POSITIVE_SHARES_UP_TO.searchsorted(rng.random(), side="right"))


def draw_effort(exercise: str, rng: np.random.Generator) -> dict[int, int]:
    """Return how hard an exercise is done this time."""
    return {
        unit: int(np.clip(level + rng.integers(-1, 2), 1, MAX_INTENSITY))
        for unit, level in EXERCISES[exercise].items()
    }


def activations_of(intensities: Intensities, *, rng: np.random.Generator) -> Activations:
    """Return the shares (len(UNITS), 2) of full movement, with small chance and asymmetry.

    Args:
        intensities: Unit -> 0 to 5.
        rng: Draws how strongly this subject shows an intensity, and the sides' difference.
    """
    levels = np.array([intensities.get(unit, 0) for unit in UNITS[:_NUM_DRAWN]])
    spread = 1 + 0.06 * rng.standard_normal(_NUM_DRAWN)[:, None]
    sides = 1 + 0.05 * rng.standard_normal((_NUM_DRAWN, 2))
    shown = np.zeros((len(UNITS), 2))
    shown[:_NUM_DRAWN] = np.clip(STRENGTH[levels][:, None] * spread * sides, 0.0, 1.2)
    return shown
