"""How often faces show each action unit in the published data sets, and which go together.

BP4D: shares of its 146,847 coded frames, as the papers on it print them. DISFA: frames of each
intensity among 130,814, as its authors print them (Mavadati et al. 2013). Both give the balance
weights of the published training lists back (tests/unit/data/test_synthetic_presets.py). Units that
a data set does not code are on the face nevertheless: their shares are ours.

Co-occurrence: correlations of normal variables whose thresholding gives BP4D's published
conditional shares; pairs with a unit that BP4D does not code (5, 9, 20, 25, 26) are ours.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Shares = Mapping[int, tuple[float, float, float, float, float]]
"""Unit -> share of frames with an intensity of at least 1, 2, 3, 4, 5."""

_BP4D_RATES = {
    1: 0.211,
    2: 0.171,
    4: 0.203,
    6: 0.462,
    7: 0.549,
    10: 0.594,
    12: 0.562,
    14: 0.466,
    15: 0.169,
    17: 0.344,
    23: 0.165,
    24: 0.152,
}
_BESIDE_BP4D = {5: 0.05, 9: 0.06, 25: 0.35, 26: 0.12}

_DISFA_FRAMES = {
    1: (2272, 1749, 2809, 1393, 555),
    2: (1720, 934, 3505, 836, 369),
    4: (4661, 7636, 6586, 4328, 1383),
    5: (1579, 719, 293, 104, 34),
    6: (9157, 5986, 3599, 601, 141),
    9: (1659, 2035, 3045, 316, 77),
    12: (13943, 6869, 7233, 2577, 240),
    15: (5180, 1618, 1017, 47, 0),
    17: (6342, 4184, 2281, 112, 11),
    20: (1591, 1608, 1305, 28, 0),
    25: (9805, 13935, 15693, 5580, 1039),
    26: (13443, 7473, 3529, 314, 217),
}
"""Unit -> frames of intensity 1 to 5."""
_DISFA_TOTAL = 130_814
_BESIDE_DISFA = {7: 0.05, 10: 0.05, 14: 0.04, 23: 0.03, 24: 0.03}

_TRACE_SHARE = 0.15
"""Of the frames without a unit, those with a trace of it (intensity 1)."""
_STRONGER = (0.75, 0.45, 0.2)
"""Of the frames with a unit, those of at least 3, 4 and 5."""


def _from_rates(rates: Mapping[int, float]) -> Shares:
    return {
        unit: (
            rate + _TRACE_SHARE * (1 - rate),
            rate,
            rate * _STRONGER[0],
            rate * _STRONGER[1],
            rate * _STRONGER[2],
        )
        for unit, rate in rates.items()
    }


def _from_frames(frames: Mapping[int, tuple[int, ...]], *, total: int) -> Shares:
    return {
        unit: tuple(sum(counts[level:]) / total for level in range(5))  # pyright: ignore
        for unit, counts in frames.items()
    }


BP4D_SHARES: Shares = MappingProxyType({**_from_rates(_BP4D_RATES), **_from_rates(_BESIDE_BP4D)})
DISFA_SHARES: Shares = MappingProxyType(
    {**_from_frames(_DISFA_FRAMES, total=_DISFA_TOTAL), **_from_rates(_BESIDE_DISFA)}
)

_TOGETHER: Mapping[int, tuple[float, ...]] = {
    # unit: correlation with each unit of a line above, in their order
    1: (),
    2: (0.71,),
    4: (0.21, -0.17),
    5: (0.43, 0.55, -0.08),
    6: (-0.02, 0.09, -0.10, -0.20),
    7: (0.01, -0.03, 0.13, -0.34, 0.76),
    9: (0.02, -0.01, 0.53, -0.01, 0.34, 0.39),
    10: (0.12, 0.14, -0.12, 0.01, 0.74, 0.58, 0.48),
    12: (0.02, 0.21, -0.45, 0.01, 0.76, 0.53, 0.00, 0.74),
    14: (-0.01, 0.04, -0.08, -0.01, 0.38, 0.30, 0.01, 0.39, 0.35),
    15: (-0.04, -0.08, -0.04, -0.01, 0.29, 0.32, 0.01, 0.29, 0.21, 0.28),
    17: (0.02, -0.04, 0.13, 0.01, 0.06, 0.13, 0.24, 0.02, -0.03, 0.25, 0.50),
    20: (0.19, 0.00, 0.21, 0.01, 0.00, 0.00, 0.00, 0.00, -0.18, 0.00, 0.19, 0.01),
    23: (-0.03, 0.01, 0.07, 0.00, 0.16, 0.14, 0.00, 0.08, 0.12, 0.28, 0.43, 0.48, -0.10),
    24: (
        *(-0.09, -0.07, 0.09, -0.03, -0.05, 0.02, 0.02),
        *(-0.20, -0.18, 0.43, 0.35, 0.69, -0.02, 0.48),
    ),
    25: (
        *(0.13, 0.15, -0.03, 0.26, 0.34, 0.19, 0.12),
        *(0.43, 0.45, -0.19, -0.22, -0.47, 0.25, -0.30, -0.78),
    ),
    26: (
        *(0.15, 0.19, 0.00, 0.30, 0.24, 0.10, 0.01),
        *(0.29, 0.37, -0.25, -0.25, -0.50, 0.01, -0.35, -0.81, 0.91),
    ),
}


def togetherness(units: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the (U, U) correlations of the normal variables behind the units.

    Args:
        units: Some of those that a face can show of its own accord.
    """
    order = list(_TOGETHER)
    lower = np.zeros((len(order), len(order)))
    for row, values in enumerate(_TOGETHER.values()):
        lower[row, :row] = values
    chosen = [order.index(unit) for unit in units]
    return (lower + lower.T + np.eye(len(order)))[np.ix_(chosen, chosen)]
