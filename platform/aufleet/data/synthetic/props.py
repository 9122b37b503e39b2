"""The parts beside the skin: eyeballs, teeth, tongue, ears, neck, clothes, long hair, glasses."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.head import (
    EYE_CENTRE,
    EYE_RADIUS,
    Vertices,
    eye_centres_of,
    head_mesh,
)
from aufleet.data.synthetic.identity import Identity
from aufleet.data.synthetic.landmark_vertices import MOUTH_RING
from aufleet.data.synthetic.subdivision import Triangles
from aufleet.data.synthetic.texture import TILE, tile_origin

FIXED, JAW, RIGHT_EYE, LEFT_EYE = "fixed", "jaw", "right eye", "left eye"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A piece that moves as one.

    Attributes:
        vertices: (V, 3) cm in the head's axes.
        triangles: (T, 3).
        texels: (V, 2) x, y in the texture.
        shade: (V,) ambient share.
        follows: FIXED to the skull, the JAW, or one of the eyes.
    """

    vertices: Vertices
    triangles: Triangles
    texels: NDArray[np.float64]
    shade: NDArray[np.float64]
    follows: str = FIXED


def parts_of(identity: Identity) -> list[Part]:
    """Return the parts of a person, placed where this person's eyes and mouth lie."""
    right_eye, left_eye = eyes = eye_centres_of(identity.neutral)
    ring = list(MOUTH_RING)
    mouth = (identity.neutral[ring] - head_mesh().control[ring]).mean(axis=0)
    nose = eyes.mean(axis=0) - EYE_CENTRE * [0.0, 1.0, 1.0]
    tongue = _ball((0.0, -5.25, 2.6), (1.5, 0.6, 1.7), tile="tongue", shade=0.45, follows=JAW)
    parts = [
        _eyeball(right_eye, follows=RIGHT_EYE),
        _eyeball(left_eye, follows=LEFT_EYE),
        _shifted(_teeth(top=-3.2, bottom=-4.36, front=4.5, follows=FIXED), mouth),
        _shifted(_teeth(top=-4.5, bottom=-5.5, front=4.35, follows=JAW), mouth),
        _shifted(tongue, mouth),
        _neck(),
        _ball((0.0, -21.5, -3.5), (19.0, 7.5, 7.0), tile="clothes"),
    ]
    for side in (-1, 1):
        parts.append(_ball((side * 7.75, 0.6, -3.3), (0.55, 1.9, 1.1), tile="skin", shade=0.85))
    if identity.hair_length == 2:
        parts.append(_ball((0.0, -1.5, -5.2), (9.3, 12.5, 6.6), tile="hair", shade=0.75))
    if identity.glasses:
        parts += [_shifted(part, nose) for part in _glasses()]
    return parts


def _shifted(part: Part, offset: Vertices) -> Part:
    return replace(part, vertices=part.vertices + offset)


def _grid_triangles(rows: int, columns: int) -> Triangles:
    """Return triangles over a grid of vertices, row by row, facing as rows x columns turn."""
    k = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = k[:-1, :-1], k[:-1, 1:], k[1:, :-1], k[1:, 1:]
    upper, lower = np.stack([a, c, d], axis=-1), np.stack([a, d, b], axis=-1)
    return np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])


def _on_tile(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return texels for tile coordinates in -1 to 1, y up."""
    left, top = tile_origin(name)
    reach = TILE / 2 - 2
    middle = (TILE - 1) / 2
    return np.stack([left + middle + reach * x, top + middle - reach * y], axis=-1)


def _sphere(rows: int, columns: int) -> Vertices:
    """Return a unit sphere's vertices, from the pole +z backward, counter-clockwise."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    points = [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)]
    return np.stack(points, axis=-1).reshape(-1, 3)


def _ball(
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    *,
    tile: str,
    shade: float = 1.0,
    follows: str = FIXED,
) -> Part:
    unit = _sphere(14, 28)
    return Part(
        vertices=unit * radii + np.array(centre),
        triangles=_grid_triangles(14, 28),
        texels=_on_tile(tile, unit[:, 0], unit[:, 1]),
        shade=np.full(len(unit), shade),
        follows=follows,
    )


def _eyeball(centre: Vertices, *, follows: str) -> Part:
    unit = _sphere(14, 24)
    # The back half would repeat the iris.
    unit = unit[unit[:, 2] > -0.05]
    return Part(
        vertices=unit * EYE_RADIUS + centre,
        triangles=_grid_triangles(len(unit) // 24, 24),
        texels=_on_tile("eye", unit[:, 0], unit[:, 1]),
        # The upper lid and its lashes keep light from the ball's top.
        shade=np.interp(unit[:, 1], [-0.1, 0.3], [0.95, 0.6]),
        follows=follows,
    )


def _teeth(*, top: float, bottom: float, front: float, follows: str) -> Part:
    x = np.linspace(-2.0, 2.0, 13)
    rows = [np.stack([x, np.full(13, y), front - 0.24 * x**2], axis=-1) for y in (top, bottom)]
    vertices = np.concatenate(rows)
    return Part(
        vertices=vertices,
        triangles=_grid_triangles(2, 13),
        texels=_on_tile("teeth", vertices[:, 0] / 2.0, np.repeat([0.9, -0.9], 13)),
        shade=np.tile(np.interp(np.abs(x), [0.5, 2.0], [0.8, 0.3]), 2),
        follows=follows,
    )


def _neck() -> Part:
    rows, columns = 6, 25
    heights = np.linspace(-6.0, -19.0, rows)
    around = np.linspace(-np.pi, np.pi, columns)
    radius = np.interp(heights, [-19, -14, -6], [7.5, 5.6, 5.3])
    x = radius[:, None] * np.sin(around)[None]
    z = -3.4 + 0.85 * radius[:, None] * np.cos(around)[None]
    vertices = np.stack([x, np.repeat(heights[:, None], columns, axis=1), z], axis=-1)
    shade = np.interp(heights, [-15, -9], [0.85, 0.4])
    return Part(
        vertices=vertices.reshape(-1, 3),
        triangles=_grid_triangles(rows, columns),
        texels=_on_tile("skin", np.zeros(rows * columns), np.zeros(rows * columns)),
        shade=np.repeat(shade, columns),
    )


def _glasses() -> list[Part]:
    around = np.linspace(0, 2 * np.pi, 33)
    parts = []
    for side in (-1, 1):
        circle = np.stack([np.cos(around), np.sin(around)], axis=-1)
        rounded = np.sign(circle) * np.abs(circle) ** 0.75
        x, y = side * 3.25 + 2.0 * rounded[:, 0], 2.35 + 1.5 * rounded[:, 1]
        rim = np.stack([x, y, 5.75 - 0.075 * x**2], axis=-1)
        parts.append(_ribbon(rim, np.c_[0.12 * rounded, np.zeros(33)]))
        arm = np.linspace([side * 5.25, 2.8, 3.7], [side * 8.1, 1.9, -3.5], 5)
        parts.append(_ribbon(arm, np.array([[0.0, 0.16, 0.0]])))
    x = np.linspace(-1.25, 1.25, 7)
    bridge = np.stack([x, 2.75 + 0.2 * np.cos(x * 1.2), 5.75 - 0.075 * x**2], axis=-1)
    return [*parts, _ribbon(bridge, np.array([[0.0, 0.12, 0.0]]))]


def _ribbon(points: Vertices, width: NDArray[np.float64]) -> Part:
    """Return a band along points (N, 3), seen from both sides."""
    vertices = np.concatenate([points + width, points - width])
    forward = _grid_triangles(2, len(points))
    return Part(
        vertices=vertices,
        triangles=np.concatenate([forward, forward[:, ::-1]]),
        texels=_on_tile("glasses", np.zeros(len(vertices)), np.zeros(len(vertices))),
        shade=np.ones(len(vertices)),
    )
