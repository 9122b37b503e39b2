"""How each action unit moves the head's control vertices, each side on its own.

A field is written once for both halves of the face, in centimetres at full intensity, with `out`
away from the midline, `up` and `front`. It is then cut in two by a smooth weight over x, so that
the patient's right (x < 0, left in the picture) and left can act with different strengths.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.canonical import canonical_face
from aufleet.data.synthetic.geometry import blend
from aufleet.data.synthetic.head import HeadMesh, Vertices, head_mesh, left_share, lid_weight
from aufleet.data.synthetic.landmark_vertices import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LOWER_LID,
    SECOND_UPPER_LID,
    UPPER_LID,
)

UPPER_LID_RAISER, LIP_PUCKER, LIP_STRETCHER, EYES_CLOSED = 5, 18, 20, 43
MOUTH_DRAWN = 100
"""No unit of FACS: the whole mouth drawn to one side, as the healthy side does in palsy."""
UNITS = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 23, 24, 25, 26, EYES_CLOSED, MOUTH_DRAWN),
    # Last, so that what is drawn for the units before it stays what it was.
    LIP_STRETCHER,
)
"""What the renderer can show; 18, 43 and 100 serve palsy and its exercises, 5 and 20 also DISFA."""
RIGHT, LEFT = 0, 1
"""Columns of activations: the patient's right and left."""
JAW_DROP = 26
MAX_INTENSITY = 5
POSITIVE_INTENSITY = 2
"""A unit counts as present from this intensity on, as in DISFA."""
STRENGTH = np.array([0.0, 0.14, 0.52, 0.7, 0.86, 1.0])
"""Share of the full movement at the intensities 0 to 5; 1 is FACS's trace."""

Activations = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Movement:
    """Full-strength displacements.

    Attributes:
        fields: (len(UNITS), 2, N, 3) cm; axis 1 is RIGHT, LEFT.
    """

    fields: NDArray[np.float64]

    def displacement(self, activations: Activations) -> Vertices:
        """Return the (N, 3) displacement of activations (len(UNITS), 2) in 0 to 1."""
        moved = np.zeros(self.fields.shape[2:])
        fields = self.fields.reshape(activations.size, -1)
        blend(activations.reshape(-1), fields, moved.reshape(-1))
        return moved


class _Rest:
    """Weights over the rest position; lengths in cm."""

    def __init__(self, mesh: HeadMesh) -> None:
        self.points = mesh.control
        self.across = np.abs(self.points[:, 0])
        self.side = np.tanh(self.points[:, 0] / 0.5)
        self.lower_lip = self._below_mouth()
        front = self.points[:, 2]
        # Muscles end where the face turns to the skull.
        self.face = 1 / (1 + np.exp(-(front + 1.0) / 0.5))

    def _below_mouth(self) -> NDArray[np.float64]:
        """Return 1 below the line between the lips, 0 above, soft beside the mouth."""
        softness = np.interp(self.across, [2.0, 3.2], [0.015, 0.7])
        heights = self.points[:, 1].copy()
        # The canonical lips are parted: there the line between them is plain.
        heights[:468] = canonical_face().vertices[:, 1]
        below = 1 / (1 + np.exp(np.clip((heights + 4.29) / softness, -50, 50)))
        for rows, value in ((INNER_UPPER_LIP, 0.0), (INNER_LOWER_LIP, 1.0)):
            below[list(rows)] = value
        return below

    def at(self, out: float, up: float, *, width: float, height: float) -> NDArray[np.float64]:
        """Return a Gaussian bell around a point of either half."""
        x = (self.across - out) / width
        y = (self.points[:, 1] - up) / height
        return np.exp(-0.5 * (x * x + y * y)) * self.face

    def move(
        self, weight: NDArray[np.float64], *, out: float = 0.0, up: float = 0.0, front: float = 0.0
    ) -> Vertices:
        """Return a field: a weight times a direction."""
        directions = np.stack(
            [out * self.side, np.full(len(weight), up), np.full(len(weight), front)], axis=1
        )
        return weight[:, None] * directions


def movement_of(neutral: Vertices) -> Movement:
    """Return the displacements of a head with this neutral control shape, (N, 3).

    Closing and pressing depend on the subject: lids meet where this subject's lower lid lies.
    """
    by_unit = dict(_shared_fields())
    by_unit[EYES_CLOSED] = _eyes_closed(neutral)
    for unit, share, narrowing in ((23, 0.42, 0.42), (24, 0.75, -0.1)):
        by_unit[unit] = by_unit[unit] + _thin_lips(neutral, share=share, narrowing=narrowing)
    mesh = head_mesh()
    whole = np.stack([by_unit.get(unit, np.zeros_like(neutral)) for unit in UNITS])[:, mesh.rim]
    left = left_share()
    halves = np.stack([1 - left, left])
    # In this order in memory, as they are added up for each frame.
    fields = np.ascontiguousarray(np.einsum("unc,sn->usnc", whole, halves))
    fields[UNITS.index(MOUTH_DRAWN)] = _mouth_drawn()[:, mesh.rim]
    return Movement(fields=fields)


@cache
def _shared_fields() -> dict[int, Vertices]:
    rest = _Rest(head_mesh())
    return {unit: build(rest) for unit, build in _FIELDS.items()}


def _inner_brow_raiser(rest: _Rest) -> Vertices:
    brow = rest.at(1.4, 5.2, width=1.25, height=1.3)
    return rest.move(brow, up=1.05, out=-0.05) + rest.move(
        rest.at(1.5, 7.0, width=1.5, height=1.0), up=0.35
    )


def _outer_brow_raiser(rest: _Rest) -> Vertices:
    brow = rest.at(4.7, 4.9, width=1.5, height=1.15)
    lid_fold = rest.at(3.9, 3.5, width=1.1, height=0.45)
    return rest.move(brow, up=1.0) + rest.move(lid_fold, up=0.15)


def _brow_lowerer(rest: _Rest) -> Vertices:
    inner = rest.at(1.5, 4.8, width=1.2, height=1.0)
    whole = rest.at(3.0, 4.6, width=2.0, height=0.9)
    return rest.move(inner, up=-0.4, out=-0.45, front=0.12) + rest.move(whole, up=-0.5)


def _upper_lid_raiser(rest: _Rest) -> Vertices:
    return rest.move(lid_weight(UPPER_LID, SECOND_UPPER_LID, share=0.6), up=0.32)


def _cheek_raiser(rest: _Rest) -> Vertices:
    cheek = rest.at(4.3, 0.5, width=1.7, height=1.2)
    bag = rest.at(3.4, 1.6, width=1.4, height=0.45)
    corner = rest.at(5.2, 2.6, width=0.8, height=0.8)
    lower = lid_weight(LOWER_LID)
    return (
        rest.move(cheek, up=0.55, front=0.3)
        + rest.move(bag, up=0.3, front=0.22)
        + rest.move(corner, out=-0.2, up=-0.12)
        + rest.move(lower, up=0.16)
    )


def _lid_tightener(rest: _Rest) -> Vertices:
    upper = lid_weight(UPPER_LID, SECOND_UPPER_LID, share=0.7)
    lower = lid_weight(LOWER_LID)
    below = rest.at(3.1, 2.0, width=1.3, height=0.3)
    return (
        rest.move(upper, up=-0.17) + rest.move(lower, up=0.24) + rest.move(below, up=0.2, front=0.1)
    )


def _nose_wrinkler(rest: _Rest) -> Vertices:
    wing = rest.at(1.5, -1.0, width=0.8, height=0.8)
    bridge = rest.at(0.8, 1.5, width=0.9, height=1.2)
    brow = rest.at(1.2, 4.6, width=1.1, height=0.8)
    lip = rest.at(1.2, -3.4, width=1.2, height=0.6) * (1 - rest.lower_lip)
    return (
        rest.move(wing, up=0.5, out=0.15)
        + rest.move(bridge, up=0.28, front=0.12)
        + rest.move(brow, up=-0.42, out=-0.12)
        + rest.move(lip, up=0.3)
    )


def _upper_lip_raiser(rest: _Rest) -> Vertices:
    lip = rest.at(1.1, -3.6, width=0.9, height=0.8) * (1 - rest.lower_lip)
    fold = rest.at(2.6, -1.9, width=0.9, height=0.9)
    wing = rest.at(1.7, -1.0, width=0.5, height=0.5)
    return (
        rest.move(lip, up=0.8, front=0.12)
        + rest.move(fold, up=0.35, front=0.2)
        + rest.move(wing, up=0.15, out=0.1)
    )


def _lip_corner_puller(rest: _Rest) -> Vertices:
    corner = rest.at(2.5, -4.3, width=1.05, height=0.95)
    cheek = rest.at(3.9, -1.9, width=1.2, height=1.2)
    return rest.move(corner, up=0.95, out=0.75, front=-0.35) + rest.move(
        cheek, up=0.4, out=0.1, front=0.28
    )


def _dimpler(rest: _Rest) -> Vertices:
    corner = rest.at(2.6, -4.3, width=0.7, height=0.7)
    pit = rest.at(3.3, -4.3, width=0.45, height=0.8)
    return rest.move(corner, out=0.65, up=0.1, front=-0.5) + rest.move(pit, front=-0.6, out=-0.1)


def _lip_corner_depressor(rest: _Rest) -> Vertices:
    corner = rest.at(2.5, -4.5, width=0.8, height=0.75)
    below = rest.at(2.7, -5.8, width=0.9, height=0.8)
    return rest.move(corner, up=-0.85, out=0.12) + rest.move(below, up=-0.25, front=0.2)


def _chin_raiser(rest: _Rest) -> Vertices:
    chin = rest.at(0.0, -7.4, width=1.9, height=1.1)
    lip = rest.at(0.0, -5.0, width=1.5, height=0.75) * rest.lower_lip
    upper = rest.at(0.0, -3.7, width=1.5, height=0.6) * (1 - rest.lower_lip)
    return (
        rest.move(chin, up=0.75, front=0.3)
        + rest.move(lip, up=0.5, front=0.3)
        + rest.move(upper, up=0.3, front=0.08)
    )


def _lip_pucker(rest: _Rest) -> Vertices:
    mouth = rest.at(0.0, -4.3, width=2.6, height=1.3)
    narrow = mouth * np.minimum(rest.across / 2.4, 1.0)
    return rest.move(narrow, out=-1.1) + rest.move(mouth, front=0.8)


def _lip_stretcher(rest: _Rest) -> Vertices:
    corner = rest.at(2.5, -4.4, width=1.0, height=0.8)
    cheek = rest.at(4.0, -4.0, width=1.2, height=1.2)
    return rest.move(corner, out=0.95, up=-0.1, front=-0.4) + rest.move(cheek, out=0.15, front=0.1)


def _lip_tightener(rest: _Rest) -> Vertices:
    return rest.move(rest.at(2.4, -4.3, width=0.8, height=0.6), front=0.1)


def _lip_pressor(rest: _Rest) -> Vertices:
    above = rest.at(0.8, -2.9, width=1.4, height=0.4)
    below = rest.at(0.8, -5.9, width=1.4, height=0.45)
    return rest.move(above, front=0.2) + rest.move(below, front=0.3, up=0.1)


def _lips_part(rest: _Rest) -> Vertices:
    lips = rest.at(0.0, -4.4, width=1.6, height=1.1)
    return rest.move(lips * rest.lower_lip, up=-0.62) + rest.move(
        lips * (1 - rest.lower_lip), up=0.26
    )


def _jaw_drop(rest: _Rest) -> Vertices:
    hinge_up, hinge_front, angle = 0.5, -2.0, 0.2
    up, front = rest.points[:, 1] - hinge_up, rest.points[:, 2] - hinge_front
    reach = rest.lower_lip * np.clip((front - 0.5) / 2.0, 0, 1)
    field = np.zeros_like(rest.points)
    field[:, 1] = -angle * front * reach
    field[:, 2] = angle * up * reach
    return field


def _eyes_closed(neutral: Vertices) -> Vertices:
    """Return the field that lays the upper lid on the lower lid."""
    mesh = head_mesh()
    field = np.zeros_like(neutral)
    for upper, second, lower in zip(UPPER_LID, SECOND_UPPER_LID, LOWER_LID, strict=True):
        for half in (lambda v: v, lambda v: int(mesh.mirror[v])):
            gap = neutral[half(lower)] - neutral[half(upper)]
            field[half(upper)] = 0.86 * gap
            field[half(lower)] = -0.14 * gap
            field[half(second)] = 0.5 * gap * np.array([1.0, 1.0, 0.5])
    return field


@cache
def _mouth_drawn() -> NDArray[np.float64]:
    """Return the fields (2, N, 3) that draw lips and philtrum to the right and to the left."""
    rest = _Rest(head_mesh())
    field = np.zeros((2, *rest.points.shape))
    weight = rest.at(0.0, -4.2, width=2.6, height=1.6) + rest.at(0, -7.5, width=2, height=1) * 0.4
    field[RIGHT, :, 0], field[LEFT, :, 0] = -0.75 * weight, 0.75 * weight
    return field


def _thin_lips(neutral: Vertices, *, share: float, narrowing: float) -> Vertices:
    """Return the field that takes a share of the red lips' height and narrows the mouth (cm)."""
    rest = _Rest(head_mesh())
    middle = neutral[[INNER_UPPER_LIP[4], INNER_LOWER_LIP[4]], 1].mean()
    lips = rest.at(0.0, -4.35, width=2.2, height=0.75)
    narrow = rest.at(0.0, -4.35, width=2.6, height=1.0) * np.minimum(rest.across / 2.4, 1.0)
    field = rest.move(narrow, out=-narrowing * 1.6) + rest.move(lips, front=-0.15)
    field[:, 1] -= share * lips * (neutral[:, 1] - middle)
    return field


_FIELDS: dict[int, Callable[[_Rest], Vertices]] = {
    1: _inner_brow_raiser,
    2: _outer_brow_raiser,
    4: _brow_lowerer,
    5: _upper_lid_raiser,
    6: _cheek_raiser,
    7: _lid_tightener,
    9: _nose_wrinkler,
    10: _upper_lip_raiser,
    12: _lip_corner_puller,
    14: _dimpler,
    15: _lip_corner_depressor,
    17: _chin_raiser,
    18: _lip_pucker,
    20: _lip_stretcher,
    23: _lip_tightener,
    24: _lip_pressor,
    25: _lips_part,
    26: _jaw_drop,
}
