"""From a person, what the face does, and a scene, to a frame with its exact landmarks."""

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aufleet.data.alignment import Affine, alignment_of, apply_affine
from aufleet.data.faces import POINTS_68_OF_478
from aufleet.data.records import ALIGNED_SIZE
from aufleet.data.synthetic.body import Body, Posture
from aufleet.data.synthetic.compiling import Floats
from aufleet.data.synthetic.geometry import View, project, vertex_normals
from aufleet.data.synthetic.identity import Identity
from aufleet.data.synthetic.palsy import Palsy
from aufleet.data.synthetic.raster import Hits, fill_triangles
from aufleet.data.synthetic.scene import Scene, expose, paint_background
from aufleet.data.synthetic.shading import NORMAL, shade
from aufleet.data.synthetic.texture import paint_texture
from aufleet.data.synthetic.units import Activations
from aufleet.domain.landmarks import POINTS_49_OF_68
from aufleet.domain.palsy import Side

OVERSAMPLING = 1.25
"""The picture is drawn this many times as wide, then averaged down."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Look:
    """A posture and where the camera sees its 68 points: (68, 2) cm in the plane, y down."""

    posture: Posture
    landmarks_cm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Canvas:
    """What a picture is drawn on; kept, because fresh memory costs more than what is drawn."""

    depth: Floats
    hits: Hits
    linear: Floats

    @classmethod
    def of(cls, size_px: int) -> "_Canvas":
        """Return one of this size."""
        return cls(
            depth=np.empty((size_px, size_px), dtype=np.float32),
            hits=Hits(
                triangle=np.empty((size_px, size_px), dtype=np.int32),
                weights=np.empty((size_px, size_px, 2), dtype=np.float32),
            ),
            linear=np.empty((size_px, size_px, 3), dtype=np.float32),
        )

    def clear(self, background: Floats) -> None:
        """Wipe what was drawn."""
        self.depth.fill(np.inf)
        self.hits.triangle.fill(-1)
        np.copyto(self.linear, background)


class FaceModel:
    """One person, ready to be rendered; building it costs about 0.1 s, a frame under 10 ms."""

    def __init__(self, identity: Identity, *, palsy: Palsy | None = None) -> None:
        self._body = Body(identity)
        self._texture = paint_texture(identity)
        self._palsy = palsy or Palsy(side=Side.NONE, severity=0.0)
        self._canvas = _Canvas.of(round(ALIGNED_SIZE * OVERSAMPLING))
        self._view = View(
            turned=np.empty((self._body.num_vertices, 3), dtype=np.float32),
            screen=np.empty((self._body.num_vertices, 3), dtype=np.float32),
        )

    def with_palsy(self, palsy: Palsy) -> "FaceModel":
        """Return the same person with a palsy."""
        twin = copy(self)
        twin._palsy = palsy
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
        look = self._look(activations, scene)
        to_frame = alignment_of(look.landmarks_cm[POINTS_49_OF_68])
        return self._draw(look, scene, to_frame=to_frame, size_px=ALIGNED_SIZE, rng=rng)

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
        look = self._look(activations, scene)
        return self._draw(look, scene, to_frame=to_frame, size_px=size_px, rng=rng)

    def _look(self, activations: Activations, scene: Scene) -> _Look:
        posture = self._body.pose(activations, palsy=self._palsy, gaze_deg=scene.gaze_deg)
        points = posture.points[POINTS_68_OF_478].astype(np.float64)
        right, up, near = np.einsum("dc,nc->dn", scene.rotation, points)
        scale = scene.distance_cm / (scene.distance_cm - near)
        return _Look(posture=posture, landmarks_cm=np.stack([right * scale, -up * scale], axis=1))

    def _draw(
        self,
        look: _Look,
        scene: Scene,
        *,
        to_frame: Affine,
        size_px: int,
        rng: np.random.Generator,
    ) -> RenderedFace:
        drawn_px = round(size_px * OVERSAMPLING)
        # Pixel centres are whole numbers in the frame and in the larger picture.
        to_screen = to_frame * (drawn_px / size_px)
        to_screen[:, 2] += 0.5 * (drawn_px / size_px) - 0.5
        linear = self._shade(look.posture, scene, to_screen=to_screen, size_px=drawn_px)
        landmarks_68 = apply_affine(to_frame, look.landmarks_cm).astype(np.float32)
        return RenderedFace(
            frame=expose(linear, scene, size_px=size_px, rng=rng),
            landmarks=landmarks_68[POINTS_49_OF_68],
            landmarks_68=landmarks_68,
        )

    def _shade(self, posture: Posture, scene: Scene, *, to_screen: Affine, size_px: int) -> Floats:
        """Return (size_px, size_px, 3) linear light, until the next picture is drawn."""
        triangles, attributes, view = self._body.triangles, posture.attributes, self._view
        project(
            posture.points,
            scene.rotation.astype(np.float32),
            np.float32(scene.distance_cm),
            to_screen.astype(np.float32),
            view,
        )
        vertex_normals(view.turned, triangles, attributes[:, NORMAL])
        canvas = self._canvas if len(self._canvas.depth) == size_px else _Canvas.of(size_px)
        canvas.clear(paint_background(scene.background_seed, size_px))
        fill_triangles(view.screen, triangles, canvas.depth, canvas.hits)
        shade(attributes, triangles, canvas.hits, self._texture, scene.light, canvas.linear)
        return canvas.linear
