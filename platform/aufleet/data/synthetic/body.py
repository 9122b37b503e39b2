"""One person's geometry: from what the face does to the vertices of skin and parts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.compiling import Floats, Indices
from aufleet.data.synthetic.geometry import NUM_CARRIED, weighted_sums
from aufleet.data.synthetic.head import EYE_RADIUS, Vertices, eye_centres_of, head_mesh
from aufleet.data.synthetic.identity import Identity
from aufleet.data.synthetic.landmark_vertices import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LOWER_LID,
    UPPER_LID,
)
from aufleet.data.synthetic.palsy import Palsy
from aufleet.data.synthetic.props import FIXED, JAW, LEFT_EYE, Part, parts_of
from aufleet.data.synthetic.scene import turn
from aufleet.data.synthetic.shading import AMBIENT, NUM_ATTRIBUTES, RELIEF, TEXEL
from aufleet.data.synthetic.texture import SIZE
from aufleet.data.synthetic.units import JAW_DROP, LEFT, RIGHT, UNITS, Activations, movement_of
from aufleet.data.synthetic.wrinkles import crease_depths

_LID_CLEARANCE = np.float32(0.07)
"""Lids stay this many cm in front of the eyeball."""
_MOST_RIM = 0.3
"""Fine vertices with more of the rim behind the lid than this stay where they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Posture:
    """A face that does something, before it is seen by a camera; until the next one is posed.

    Attributes:
        points: (V, 3) float32 cm in the head's axes; the first 468 are the canonical vertices.
        attributes: (V, shading.NUM_ATTRIBUTES) float32 with all but the normals.
    """

    points: Floats
    attributes: Floats


class Body:
    """A person's skin and parts.

    Attributes:
        triangles: (T, 3) int32 of the vertices of every posture.
        num_vertices: Of every posture.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._mesh = head_mesh()
        self._movement = movement_of(identity.neutral)
        self._eye_centres = eye_centres_of(identity.neutral)
        self._parts = parts_of(identity)
        self._attributes, self.triangles = self._lay_out()
        self.num_vertices = len(self._attributes)
        self._lids = self._find_lids()
        mirror = self._mesh.mirror
        upper, lower = np.array(UPPER_LID), np.array(LOWER_LID)
        self._meeting_pairs = (
            (upper, lower),
            (mirror[upper], mirror[lower]),
            (np.array(INNER_UPPER_LIP), np.array(INNER_LOWER_LIP)),
        )

    def pose(
        self, activations: Activations, *, palsy: Palsy, gaze_deg: NDArray[np.float64]
    ) -> Posture:
        """Return the face while both sides are told to do `activations`.

        Args:
            activations: (len(UNITS), 2) in 0 to 1.
            palsy: What one side cannot do.
            gaze_deg: (2,) yaw and pitch of the eyes.
        """
        acting = palsy.apply(activations)
        control = self._identity.neutral + self._movement.displacement(acting)
        for upper, lower in self._meeting_pairs:
            _keep_apart(control, upper, lower)
        creases = crease_depths(
            acting, at_rest=self._identity.resting_wrinkles, muscle_tone=palsy.muscle_tone
        )
        skin = self._subdivide(np.concatenate([control, creases], axis=1))
        for lids, centre in zip(self._lids, self._eye_centres, strict=True):
            skin[lids, :3] = _outside_ball(skin[lids, :3], centre.astype(np.float32))
        jaw = self._jaw_shift(acting)
        parts = [self._move_part(part, jaw=jaw, gaze_deg=gaze_deg) for part in self._parts]
        # Written over in place: reliefs here, normals when it is drawn, the rest never changes.
        attributes = self._attributes
        attributes[: len(skin), RELIEF] = skin[:, 3:]
        points = np.empty((len(attributes), 3), dtype=np.float32)
        np.concatenate([skin[:, :3], *parts], out=points, casting="same_kind")
        return Posture(points=points, attributes=attributes)

    def _lay_out(self) -> tuple[Floats, Indices]:
        """Return the resting attributes and the triangles of skin and parts together."""
        fine = self._mesh.fine
        skin = np.zeros((len(fine.starts) - 1, NUM_ATTRIBUTES), dtype=np.float32)
        skin[:, TEXEL] = fine.apply(self._mesh.uv) * SIZE
        skin[:, AMBIENT] = fine.apply(self._mesh.shade[:, None])[:, 0]
        attributes, triangles, offset = [skin], [fine.triangles], len(skin)
        for part in self._parts:
            block = np.zeros((len(part.vertices), NUM_ATTRIBUTES), dtype=np.float32)
            block[:, TEXEL], block[:, AMBIENT] = part.texels, part.shade
            attributes.append(block)
            triangles.append(part.triangles + offset)
            offset += len(block)
        return np.concatenate(attributes), np.concatenate(triangles).astype(np.int32)

    def _find_lids(self) -> list[NDArray[np.intp]]:
        """Return the skin near each eyeball, without the rims that lie inside it."""
        rest = self._mesh.fine.apply(self._identity.neutral)
        skin = self._mesh.fine.apply(self._mesh.is_rim[:, None])[:, 0] < _MOST_RIM
        return [
            np.flatnonzero(skin & (np.linalg.norm(rest - centre, axis=1) < EYE_RADIUS + 0.9))
            for centre in self._eye_centres
        ]

    def _subdivide(self, control: NDArray[np.floating]) -> Floats:
        fine = self._mesh.fine
        result = np.empty((len(fine.starts) - 1, NUM_CARRIED), dtype=np.float32)
        weighted_sums(control.astype(np.float32), fine.starts, fine.columns, fine.weights, result)
        return result

    def _jaw_shift(self, acting: Activations) -> Vertices:
        """Return how far the lower teeth move, (3,)."""
        row = UNITS.index(JAW_DROP)
        middle = self._movement.fields[row, :, INNER_LOWER_LIP[4]]
        return acting[row].mean() * middle.sum(axis=0)

    def _move_part(self, part: Part, *, jaw: Vertices, gaze_deg: NDArray[np.float64]) -> Vertices:
        if part.follows == FIXED:
            return part.vertices
        if part.follows == JAW:
            return part.vertices + jaw
        centre = self._eye_centres[LEFT if part.follows == LEFT_EYE else RIGHT]
        rotation = turn(yaw_deg=gaze_deg[0], pitch_deg=gaze_deg[1])
        return np.einsum("nc,dc->nd", part.vertices - centre, rotation) + centre


def _keep_apart(control: Vertices, upper: NDArray[np.intp], lower: NDArray[np.intp]) -> None:
    """Let lids or lips that passed each other meet in the middle instead."""
    overlap = np.maximum(control[lower, 1] - control[upper, 1], 0.0)
    control[upper, 1] += overlap / 2
    control[lower, 1] -= overlap / 2


def _outside_ball(points: Floats, centre: Floats) -> Floats:
    """Return lid vertices, pushed out of the eyeball where they lie in its front half."""
    offset = points - centre
    distance = np.linalg.norm(offset, axis=1)
    least = EYE_RADIUS + _LID_CLEARANCE
    push = np.where((distance < least) & (offset[:, 2] > 0.5), least / distance, 1.0)
    return (centre + offset * push[:, None]).astype(np.float32)
