"""From a person, what the face does, and a scene, to a frame with its exact landmarks."""

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import alignment_of, apply_affine
from aufleet.data.records import ALIGNED_SIZE
from aufleet.data.synthetic.head import EYE_CENTRE, EYE_RADIUS, Vertices, head_mesh
from aufleet.data.synthetic.identity import Identity
from aufleet.data.synthetic.landmark_vertices import (
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LOWER_LID,
    POINTS_68,
    UPPER_LID,
)
from aufleet.data.synthetic.palsy import Palsy
from aufleet.data.synthetic.props import FIXED, JAW, LEFT_EYE, RIGHT_EYE, Part, parts_of
from aufleet.data.synthetic.raster import fill_triangles, shade, vertex_normals, weighted_sums
from aufleet.data.synthetic.scene import Scene, expose, paint_background
from aufleet.data.synthetic.texture import SIZE, paint_texture
from aufleet.data.synthetic.units import (
    JAW_DROP,
    LEFT,
    RIGHT,
    UNITS,
    Activations,
    movement_of,
)
from aufleet.data.synthetic.wrinkles import crease_depths
from aufleet.domain.landmarks import POINTS_49_OF_68
from aufleet.domain.palsy import Side

OVERSAMPLING = 1.25
"""The picture is drawn this many times as wide, then averaged down."""
_LID_CLEARANCE = 0.07
"""Lids stay this many cm in front of the eyeball."""

Affine = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedFace:
    """A frame and where its points lie in it.

    Attributes:
        frame: (S, S, 3) uint8 RGB.
        landmarks: (49, 2) float32 pixels.
        landmarks_68: (68, 2) float32 pixels.
    """

    frame: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    landmarks_68: NDArray[np.float32]


class FaceModel:
    """One person, ready to be rendered; building it costs about 0.1 s, a frame some ms."""

    def __init__(self, identity: Identity, *, palsy: Palsy | None = None) -> None:
        self.identity = identity
        self.palsy = palsy or Palsy(side=Side.NONE, severity=0.0)
        self._movement = movement_of(identity.neutral)
        self._texture = paint_texture(identity)
        self._mesh = head_mesh()
        self._parts = parts_of(identity)
        self._lay_out_vertices()

    def with_palsy(self, palsy: Palsy) -> "FaceModel":
        """Return the same person with a palsy."""
        twin = copy(self)
        twin.palsy = palsy
        return twin

    def render_aligned(
        self, activations: Activations, scene: Scene, *, rng: np.random.Generator
    ) -> RenderedFace:
        """Return the face in the aligned frame, as `data.alignment.align` would move it.

        Args:
            activations: (len(UNITS), 2) in 0 to 1: what both sides are told to do.
            scene: How it is seen.
            rng: Draws the sensor's noise.
        """
        points, depths = self._pose(activations, scene)
        photo = _project(points, scene)
        to_frame = alignment_of(photo[POINTS_68][POINTS_49_OF_68])
        return self._render(points, depths, scene, to_frame, size_px=ALIGNED_SIZE, rng=rng)

    def render_photo(
        self,
        activations: Activations,
        scene: Scene,
        *,
        size_px: int,
        to_frame: Affine,
        rng: np.random.Generator,
    ) -> RenderedFace:
        """Return a square photo.

        Args:
            activations: (len(UNITS), 2) in 0 to 1.
            scene: How it is seen.
            size_px: Side of the photo.
            to_frame: (2, 3) map of cm in the plane through the head, y down, to pixels.
            rng: Draws the sensor's noise.
        """
        points, depths = self._pose(activations, scene)
        return self._render(points, depths, scene, to_frame, size_px=size_px, rng=rng)

    def _lay_out_vertices(self) -> None:
        """Put skin and parts into common arrays."""
        fine = self._mesh.fine
        num_skin = len(fine.starts) - 1
        triangles, attributes, offset = [fine.triangles], [], num_skin
        skin = np.zeros((num_skin, 8), dtype=np.float32)
        skin[:, :2] = fine.apply(self._mesh.uv) * SIZE
        skin[:, 5] = fine.apply(self._mesh.shade[:, None])[:, 0]
        attributes.append(skin)
        for part in self._parts:
            block = np.zeros((len(part.vertices), 8), dtype=np.float32)
            block[:, :2], block[:, 5] = part.texels, part.shade
            attributes.append(block)
            triangles.append(part.triangles + offset)
            offset += len(part.vertices)
        self._num_skin = num_skin
        self._attributes = np.concatenate(attributes)
        self._triangles = np.concatenate(triangles).astype(np.int32)
        rest = fine.apply(self.identity.neutral)
        # The rims behind the lids stay inside the eyeball.
        outside = fine.apply(self._mesh.is_rim[:, None])[:, 0] == 0
        self._lids = [
            np.flatnonzero(outside & (np.linalg.norm(rest - centre, axis=1) < EYE_RADIUS + 0.9))
            for centre in _EYE_CENTRES.values()
        ]

    def _pose(
        self, activations: Activations, scene: Scene
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return all vertices in the head's axes and the skin's crease depths."""
        acting = self.palsy.apply(activations)
        moved = self._movement.displacement(acting)
        control = self.identity.neutral + moved
        _keep_apart(control, UPPER_LID, LOWER_LID)
        _keep_apart(control, [int(self._mesh.mirror[v]) for v in UPPER_LID],
                    [int(self._mesh.mirror[v]) for v in LOWER_LID])
        _keep_apart(control, INNER_UPPER_LIP, INNER_LOWER_LIP)
        tone = np.ones(2)
        if self.palsy.side is not Side.NONE:
            tone[LEFT if self.palsy.side is Side.LEFT else RIGHT] -= 0.9 * self.palsy.severity
        creases = crease_depths(
            acting, at_rest=self.identity.resting_wrinkles, muscle_tone=tone
        )
        fine = self._mesh.fine
        skin = np.empty((self._num_skin, 5), dtype=np.float32)
        weighted_sums(
            np.concatenate([control, creases], axis=1).astype(np.float32),
            fine.starts, fine.columns, fine.weights, skin,
        )
        points = np.empty((len(self._attributes), 3), dtype=np.float32)
        points[: self._num_skin] = skin[:, :3]
        for lids, centre in zip(self._lids, _EYE_CENTRES.values(), strict=True):
            points[lids] = _outside_ball(points[lids], centre)
        offset = self._num_skin
        jaw = acting[UNITS.index(JAW_DROP)].mean() * self._jaw_shift()
        for part in self._parts:
            points[offset : offset + len(part.vertices)] = _move_part(part, jaw, scene)
            offset += len(part.vertices)
        return points, skin[:, 3:]

    def _jaw_shift(self) -> Vertices:
        return self._movement.fields[UNITS.index(JAW_DROP), :, INNER_LOWER_LIP[4]].sum(axis=0)

    def _render(
        self,
        points: NDArray[np.float32],
        creases: NDArray[np.float32],
        scene: Scene,
        to_frame: Affine,
        *,
        size_px: int,
        rng: np.random.Generator,
    ) -> RenderedFace:
        flat = apply_affine(to_frame, _project(points, scene))
        landmarks = flat[POINTS_68].astype(np.float32)
        drawn_px = round(size_px * OVERSAMPLING)
        rotation = scene.rotation
        turned = points @ rotation.T.astype(np.float32)
        screen = np.empty_like(points)
        # Pixel centres are whole numbers in both grids.
        screen[:, :2] = (flat + 0.5) * (drawn_px / size_px) - 0.5
        screen[:, 2] = -turned[:, 2]
        attributes = self._attributes.copy()
        normals = np.empty_like(points)
        vertex_normals(turned, self._triangles, normals)
        attributes[:, 2:5] = normals
        attributes[: self._num_skin, 6:8] = creases
        linear = _shade_pixels(
            screen, attributes, self._triangles, self._texture, scene, drawn_px
        )
        return RenderedFace(
            frame=expose(linear, scene, size_px=size_px, rng=rng),
            landmarks=landmarks[POINTS_49_OF_68],
            landmarks_68=landmarks,
        )


_EYE_CENTRES = {RIGHT_EYE: EYE_CENTRE * np.array([-1.0, 1.0, 1.0]), LEFT_EYE: EYE_CENTRE}


def _shade_pixels(screen, attributes, triangles, texture, scene, size_px):
    depth = np.full((size_px, size_px), np.inf, dtype=np.float32)
    hit = np.full((size_px, size_px), -1, dtype=np.int32)
    inside = np.empty((size_px, size_px, 2), dtype=np.float32)
    fill_triangles(screen, triangles, depth, hit, inside)
    rotation = scene.rotation
    light = np.stack(
        [scene.light, scene.key, scene.sky, scene.ground, rotation[:, 0], rotation[:, 1]]
    ).astype(np.float32)
    linear = paint_background(scene.background_seed, size_px).copy()
    shade(attributes, triangles, hit, inside, texture.colour, texture.relief, light, linear)
    return linear


def _project(points: NDArray[np.floating], scene: Scene) -> Vertices:
    """Return where points (..., 3) of the head fall, in cm of the plane through it, y down."""
    turned = points @ scene.rotation.T
    scale = scene.distance_cm / (scene.distance_cm - turned[..., 2])
    return np.stack([turned[..., 0] * scale, -turned[..., 1] * scale], axis=-1)


def _keep_apart(control: Vertices, upper, lower) -> None:
    """Let lids or lips that passed each other meet in the middle instead."""
    upper, lower = list(upper), list(lower)
    overlap = np.maximum(control[lower, 1] - control[upper, 1], 0.0)
    control[upper, 1] += overlap / 2
    control[lower, 1] -= overlap / 2


def _outside_ball(points: NDArray[np.float32], centre: Vertices) -> NDArray[np.float32]:
    """Return lid vertices, pushed out of the eyeball where they lie in its front half."""
    offset = points - centre
    distance = np.linalg.norm(offset, axis=1)
    least = EYE_RADIUS + _LID_CLEARANCE
    push = np.where((distance < least) & (offset[:, 2] > 0.5), least / distance, 1.0)
    return (centre + offset * push[:, None]).astype(np.float32)


def _move_part(part: Part, jaw: Vertices, scene: Scene) -> Vertices:
    if part.follows == FIXED:
        return part.vertices
    if part.follows == JAW:
        return part.vertices + jaw
    yaw, pitch = np.deg2rad(scene.gaze_deg)
    about_y = np.array(
        [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
    )
    centre = _EYE_CENTRES[part.follows]
    return (part.vertices - centre) @ (about_y @ about_x).T + centre
