"""Which regions of the skin crease when a unit acts, and how deep they lie at rest."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.head import head_mesh, left_share
from aufleet.data.synthetic.units import LEFT, RIGHT, UNITS, Activations

_REGIONS: Mapping[str, tuple[int, float, float, float, float]] = {
    # region: relief (0 or 1), centre outward and up, width and height of the bell, all in cm
    "forehead": (0, 1.2, 6.6, 1.5, 1.5),
    "temple": (0, 4.3, 6.4, 1.5, 1.5),
    "crow": (0, 5.9, 2.6, 0.9, 1.0),
    "fold": (0, 2.7, -2.6, 1.1, 1.4),
    "dimple": (0, 3.4, -4.3, 0.5, 0.8),
    "mouth": (0, 2.9, -5.8, 0.6, 0.7),
    "chin": (0, 0.0, -7.3, 1.5, 0.9),
    "glabella": (1, 0.0, 4.6, 0.9, 1.2),
    "bunny": (1, 0.9, 2.2, 0.7, 0.9),
    "bag": (1, 3.2, 1.5, 1.5, 0.5),
    "lips": (1, 0.0, -4.4, 1.9, 1.0),
}

_OF_UNIT: Mapping[int, Mapping[str, float]] = {
    1: {"forehead": 1.0},
    2: {"temple": 1.0, "forehead": 0.25},
    4: {"glabella": 1.0},
    6: {"crow": 1.0, "bag": 0.6},
    7: {"bag": 0.5},
    9: {"bunny": 1.0, "fold": 0.35, "glabella": 0.25},
    10: {"fold": 0.7},
    12: {"fold": 0.9},
    14: {"dimple": 1.0},
    15: {"mouth": 1.0},
    17: {"chin": 1.0},
    18: {"lips": 0.8},
    20: {"mouth": 0.5, "fold": 0.3},
    23: {"lips": 1.0},
    24: {"lips": 0.3, "chin": 0.3},
}


def crease_depths(
    activations: Activations, *, at_rest: Mapping[str, float], muscle_tone: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return how deep each relief is carved at the control vertices, (N, 2).

    Args:
        activations: (len(UNITS), 2), columns RIGHT and LEFT.
        at_rest: Region -> depth 0 to 1 of the resting face.
        muscle_tone: (2,) share of the resting creases that each side keeps: palsy flattens them.
    """
    weights, of_unit = _tables()
    depth = np.maximum(activations, 0.0).T @ of_unit
    depth = depth + muscle_tone[:, None] * np.array([at_rest.get(name, 0.0) for name in _REGIONS])
    return np.einsum("sr,srnl->nl", np.minimum(depth, 1.3), weights).astype(np.float32)


@cache
def _tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights (2 sides, R regions, N, 2 reliefs) and the units' shares (U, R)."""
    mesh = head_mesh()
    x, y = mesh.control[:, 0], mesh.control[:, 1]
    left = left_share()
    weights = np.zeros((2, len(_REGIONS), len(x), 2))
    for row, (relief, out, up, width, height) in enumerate(_REGIONS.values()):
        square = ((np.abs(x) - out) / width) ** 2 + ((y - up) / height) ** 2
        bell = np.exp(-0.5 * square**1.5) * (mesh.control[:, 2] > -2)
        weights[RIGHT, row, :, relief] = bell * (1 - left)
        weights[LEFT, row, :, relief] = bell * left
    names = list(_REGIONS)
    of_unit = np.zeros((len(UNITS), len(names)))
    for row, unit in enumerate(UNITS):
        for name, share in _OF_UNIT.get(unit, {}).items():
            of_unit[row, names.index(name)] = share
    return weights, of_unit
