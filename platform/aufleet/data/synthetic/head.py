"""The control mesh of the head: the canonical face grown into a whole head, and its fine mesh.

The canonical face is a mask with eyes and mouth covered. Here the covers are taken away, the rims
of lids and lips are drawn inward, and rings of vertices continue the mask's border around a skull.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.canonical import CanonicalFace, canonical_face
from aufleet.data.synthetic.landmark_vertices import (
    EYE_RING,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    LOWER_LID,
    MOUTH_RING,
    SECOND_UPPER_LID,
    UPPER_LID,
    mirrored,
)
from aufleet.data.synthetic.subdivision import Subdivision, Triangles, subdivide

LEVELS = 1
"""Times that each triangle is split: with 5-pixel edges and smooth normals no corner is seen."""
NUM_SKULL_RINGS = 7
UV_FACE_SHARE = 0.7
"""Share of the texture's width that the face takes; the skull's rings lie around it."""
SKULL_CENTRE = np.array([0.0, 2.3, -2.6])
SKULL_RADII = np.array([7.9, 9.3, 9.2])
BACK_POLE = np.array([0.0, 3.5, -11.8])
EYE_CENTRE = np.array([3.15, 2.66, 2.2])
"""Centre of the eyeball on the picture's right; the other one is its mirror image."""
EYE_RADIUS = 1.5

Vertices = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadMesh:
    """The head that identities deform and action units move.

    Attributes:
        control: (N, 3) rest position; the first 468 are the canonical face's vertices, in order.
        uv: (N, 2) in [0, 1] over the square part of the texture, v down.
        shade: (N,) ambient light that reaches the vertex, 0 inside the mouth, 1 outside.
        mirror: (N,) the control vertex on the other side.
        rim: (N,) the vertex of the mask whose rim a vertex behind lids or lips continues; itself
            elsewhere.
        fine: The subdivided mesh.
    """

    control: Vertices
    uv: NDArray[np.float64]
    shade: NDArray[np.float64]
    mirror: NDArray[np.intp]
    rim: NDArray[np.intp]
    fine: Subdivision

    @property
    def is_rim(self) -> NDArray[np.float64]:
        """(N,) 1 for the vertices behind lids and lips, else 0."""
        return (self.rim != np.arange(len(self.rim))).astype(np.float64)


@cache
def head_mesh() -> HeadMesh:
    """Return the head; it is built once a process, in well under a second."""
    builder = _Builder(canonical_face())
    other = mirrored(builder.face.vertices)
    builder.open_hole(EYE_RING, steps=((0.97, 0.5, 0.35), (0.9, 1.2, 0.2)))
    builder.open_hole(tuple(other[list(EYE_RING)]), steps=((0.97, 0.5, 0.35), (0.9, 1.2, 0.2)))
    builder.relax_lids_and_lips(other)
    mouth = ((0.98, 0.5, 0.6), (0.92, 1.4, 0.3), (0.85, 2.6, 0.1))
    builder.open_hole(MOUTH_RING, steps=mouth)
    builder.grow_skull()
    return builder.build()


def eye_centres_of(neutral: Vertices) -> Vertices:
    """Return the centres (2, 3) of both eyeballs of a head, the patient's right first."""
    mesh = head_mesh()
    ring = np.array(EYE_RING)
    return np.stack(
        [
            EYE_CENTRE * [side, 1.0, 1.0] + (neutral - mesh.control)[vertices].mean(axis=0)
            for side, vertices in ((-1.0, ring), (1.0, mesh.mirror[ring]))
        ]
    )


def left_share() -> NDArray[np.float64]:
    """Return (N,) how far a control vertex belongs to the patient's left half, 0 to 1."""
    return 1 / (1 + np.exp(-head_mesh().control[:, 0] / 0.35))


def lid_weight(
    rim: tuple[int, ...], second: tuple[int, ...] = (), *, share: float = 0.0
) -> NDArray[np.float64]:
    """Return (N,) 1 along a lid's rim, falling to the eye's corners, and a share on the next row.

    Args:
        rim: Vertices of the lid of the eye on the picture's left; the other eye's are added.
        second: The row of vertices beside the rim.
        share: Weight of that row.
    """
    mesh = head_mesh()
    weight = np.zeros(len(mesh.control))
    bell = np.sin(np.linspace(0.45, np.pi - 0.45, len(rim))) ** 0.7
    for row, value in ((rim, 1.0), (second, share)):
        for vertex, height in zip(row, bell, strict=False):
            weight[vertex] = weight[mesh.mirror[vertex]] = value * height
    return weight


class _Builder:
    """Collects control vertices and triangles."""

    def __init__(self, face: CanonicalFace) -> None:
        self.face = face
        self.vertices = list(face.vertices.copy())
        self.uv = list((face.uv - 0.5) * UV_FACE_SHARE + 0.5)
        self.shade = [1.0] * len(self.vertices)
        self.rim = list(range(len(self.vertices)))
        self.triangles = [tuple(map(int, t)) for t in face.triangles]

    def open_hole(
        self, ring: tuple[int, ...], *, steps: tuple[tuple[float, float, float], ...]
    ) -> None:
        """Draw the rim of a hole inward, step by step, and put its cover behind.

        Args:
            ring: Vertices around the hole, in order.
            steps: For each new ring its scale about the centre, its depth in cm and its shade.
        """
        inside = set(ring)
        cover = [t for t in self.triangles if inside.issuperset(t)]
        self.triangles = [t for t in self.triangles if not inside.issuperset(t)]
        last = list(ring)
        for scale, depth, shade in steps:
            fresh = [len(self.vertices) + k for k in range(len(ring))]
            centre = np.mean([self.vertices[k] for k in ring], axis=0)
            for k in ring:
                offset = (self.vertices[k] - centre) * scale
                self.vertices.append(centre + offset - np.array([0.0, 0.0, depth]))
                self.uv.append(self.uv[k])
                self.shade.append(shade)
                self.rim.append(k)
            self._join(last, fresh)
            last = fresh
        behind = dict(zip(ring, last, strict=True))
        self.triangles += [(behind[a], behind[b], behind[c]) for a, b, c in cover]

    def relax_lids_and_lips(self, other: NDArray[np.intp]) -> None:
        """Open the eyes to a resting width and close the canonical face's parted lips."""
        for rows, lift in ((UPPER_LID, 0.16), (SECOND_UPPER_LID, 0.1), (LOWER_LID, -0.07)):
            for row, bell in zip(rows, np.sin(np.linspace(0.35, np.pi - 0.35, 7)), strict=True):
                for vertex in (row, int(other[row])):
                    self.vertices[vertex][1] += lift * bell
        for upper, lower in zip(INNER_UPPER_LIP, INNER_LOWER_LIP, strict=True):
            middle = 0.55 * self.vertices[upper][1] + 0.45 * self.vertices[lower][1]
            self.vertices[upper][1] = middle + 0.015
            self.vertices[lower][1] = middle - 0.015

    def grow_skull(self) -> None:
        """Continue the mask's border backward over an ellipsoid to one point."""
        border = _border_loop(self.triangles, self.face.vertices)
        last = border
        for step in range(1, NUM_SKULL_RINGS + 1):
            share = step / (NUM_SKULL_RINGS + 1)
            fresh = [len(self.vertices) + k for k in range(len(border))]
            for k in border:
                self.vertices.append(_on_skull(self.vertices[k], share))
                uv = self.uv[k] - 0.5
                self.uv.append(0.5 + uv * (1 + 0.4 * share))
                self.shade.append(1.0)
            self._join(last, fresh)
            last = fresh
        pole = len(self.vertices)
        self.vertices.append(BACK_POLE.copy())
        self.uv.append(self.uv[last[0]])
        self.shade.append(1.0)
        self._join(last, [pole] * len(last))
        self.triangles = [t for t in self.triangles if len(set(t)) == 3]

    def build(self) -> HeadMesh:
        """Return the finished mesh."""
        control = np.array(self.vertices)
        triangles: Triangles = np.array(self.triangles, dtype=np.intp)
        return HeadMesh(
            control=control,
            uv=np.array(self.uv),
            shade=np.array(self.shade),
            mirror=mirrored(control),
            rim=np.array([*self.rim, *range(len(self.rim), len(control))], dtype=np.intp),
            fine=subdivide(triangles, num_control=len(control), levels=LEVELS),
        )

    def _join(self, outer: list[int], inner: list[int]) -> None:
        """Fill the band between two rings of the same length, facing as its neighbours do."""
        count = len(outer)
        forward = any(
            (t[k], t[(k + 1) % 3]) == (outer[0], outer[1]) for t in self.triangles for k in range(3)
        )
        if forward:
            outer, inner = outer[::-1], inner[::-1]
        for k in range(count):
            a, b = outer[k], outer[(k + 1) % count]
            c, d = inner[k], inner[(k + 1) % count]
            self.triangles += [(a, b, d), (a, d, c)]


def _on_skull(start: Vertices, share: float) -> Vertices:
    """Return the point a share of the way from the mask's border to the back of the skull."""
    from_centre = (start - SKULL_CENTRE) / SKULL_RADII
    radius = np.linalg.norm(from_centre)
    pole = (BACK_POLE - SKULL_CENTRE) / SKULL_RADII
    pole_radius = np.linalg.norm(pole)
    a, b = from_centre / radius, pole / pole_radius
    angle = np.arccos(np.clip(a @ b, -1.0, 1.0))
    direction = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    # The radius settles within the first rings, so that a chin does not become a ball.
    settle = (1 - share) ** 3
    return SKULL_CENTRE + direction * (settle * radius + (1 - settle) * pole_radius) * SKULL_RADII


def _border_loop(triangles: list[tuple[int, ...]], vertices: Vertices) -> list[int]:
    """Return the outer border of the mask as a loop."""
    following = {}
    edges = {(t[k], t[(k + 1) % 3]) for t in triangles for k in range(3)}
    for a, b in edges:
        if (b, a) not in edges:
            following[a] = b
    start = int(np.argmax(vertices[:, 1]))
    loop = [start]
    while (nearest := following[loop[-1]]) != start:
        loop.append(nearest)
    return loop
