"""Which vertices of the canonical face are lids, lips and brows.

Each list runs from the picture's left to its right, or from the outer to the inner end for the eye
on the picture's left; `mirrored` gives the other eye.
"""

import numpy as np
from numpy.typing import NDArray

UPPER_LID = (246, 161, 160, 159, 158, 157, 173)
LOWER_LID = (7, 163, 144, 145, 153, 154, 155)
SECOND_UPPER_LID = (247, 30, 29, 27, 28, 56, 190)

INNER_UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
INNER_LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
OUTER_UPPER_LIP = (185, 40, 39, 37, 0, 267, 269, 270, 409)
OUTER_LOWER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375)
OUTER_LIP_CORNERS = (61, 291)

UPPER_BROW = (70, 63, 105, 66, 107)
LOWER_BROW = (46, 53, 52, 65, 55)

EYE_RING = (33, *UPPER_LID, 133, *LOWER_LID[::-1])
MOUTH_RING = (78, *INNER_UPPER_LIP, 308, *INNER_LOWER_LIP[::-1])


def mirrored(vertices: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each vertex (N, 3) the vertex that lies at its mirror image in x."""
    flipped = vertices * np.array([-1.0, 1.0, 1.0])
    distance = np.linalg.norm(flipped[:, None] - vertices[None], axis=-1)
    return np.argmin(distance, axis=1)
