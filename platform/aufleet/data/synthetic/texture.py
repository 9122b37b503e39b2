"""A subject's texture: skin, brows, lips, beard and hair over the head, tiles for the other parts.

Everything is painted over the rest position of each texel, so that a brow lies where the brow's
vertices lie and moves with them.
"""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.compiling import Floats
from aufleet.data.synthetic.head import head_mesh
from aufleet.data.synthetic.identity import Colour, Identity
from aufleet.data.synthetic.landmark_vertices import (
    LOWER_BROW,
    LOWER_LID,
    OUTER_LIP_CORNERS,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    SECOND_UPPER_LID,
    UPPER_BROW,
    UPPER_LID,
)
from aufleet.data.synthetic.raster import Hits, fill_triangles, interpolate
from aufleet.data.synthetic.shading import COLOUR, FIRST_RELIEF, NUM_CHANNELS, SECOND_RELIEF

SIZE = 336
"""Side of the square that the head takes, in texels."""
TILE = 48
"""Side of a tile for another part; the tiles lie in one row below the square."""
TILES = ("eye", "teeth", "tongue", "skin", "hair", "clothes", "glasses")
CM_PER_TEXEL = 0.066
"""Of the face, near its middle."""
HEIGHT_CM = 0.16
"""Of a relief of height 1."""

Map = NDArray[np.floating[Any]]
"""(SIZE, SIZE) values over the head's square."""


def paint_texture(identity: Identity) -> Floats:
    """Return a person's texture, always the same: (SIZE + TILE, SIZE, NUM_CHANNELS) float32."""
    rng = np.random.default_rng(identity.seed)
    texture = np.zeros((SIZE + TILE, SIZE, NUM_CHANNELS), dtype=np.float32)
    texture[:SIZE, :, :4] = _paint_head(identity, rng)
    for index, name in enumerate(TILES):
        tile = texture[SIZE:, index * TILE : (index + 1) * TILE]
        tile[..., :4] = _paint_tile(name, identity, rng)
    # Light adds up in linear colours; the renderer's gamma is 2.
    texture[..., COLOUR] = np.square(np.clip(texture[..., COLOUR], 0.0, 1.0))
    texture[:SIZE, :, FIRST_RELIEF] = _slopes(_first_relief(rng))
    texture[:SIZE, :, SECOND_RELIEF] = _slopes(_second_relief(rng))
    return texture


def tile_origin(name: str) -> tuple[int, int]:
    """Return the texel (x, y) of a tile's top left corner."""
    return TILES.index(name) * TILE, SIZE


@cache
def rest_positions() -> NDArray[np.float32]:
    """Return (SIZE, SIZE, 3): where on the resting head each texel lies, cm."""
    mesh = head_mesh()
    fine = mesh.fine
    flat = np.zeros((len(fine.starts) - 1, 3), dtype=np.float32)
    flat[:, :2] = fine.apply(mesh.uv) * SIZE
    depth = np.full((SIZE, SIZE), np.inf, dtype=np.float32)
    hits = Hits(
        triangle=np.full((SIZE, SIZE), -1, dtype=np.int32),
        weights=np.zeros((SIZE, SIZE, 2), dtype=np.float32),
    )
    triangles = fine.triangles.astype(np.int32)
    fill_triangles(flat, triangles, depth, hits)
    positions = np.zeros((SIZE, SIZE, 3), dtype=np.float32)
    interpolate(fine.apply(mesh.control), triangles, hits, positions)
    hit = hits.triangle >= 0
    # Texels between the parts take their nearest neighbour's position: rims stay clean.
    _, labels = cv2.distanceTransformWithLabels(
        (~hit).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(labels, dtype=np.intp)
    nearest = np.zeros(labels.max() + 1, dtype=np.intp)
    nearest[labels[hit]] = np.flatnonzero(hit)
    return positions.reshape(-1, 3)[nearest[labels]]


def _noise(rng: np.random.Generator, cells_x: int, cells_y: int | None = None) -> Map:
    """Return smooth noise of about unit deviation with that many cells a side."""
    cells = rng.standard_normal((cells_y or cells_x, cells_x), dtype=np.float32)
    return np.float32(1.3) * cv2.resize(cells, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


@cache
def _bell(out: float, up: float, width: float, height: float) -> Map:
    """Return a bell around a point of both halves, not to be written to."""
    p = rest_positions()
    square = ((np.abs(p[..., 0]) - out) / width) ** 2 + ((p[..., 1] - up) / height) ** 2
    return np.exp(-0.5 * square) * (p[..., 2] > -2)


def _step(values: Map, softness: float) -> Map:
    return 1 / (1 + np.exp(np.clip(-values / softness, -30, 30)))


def _texels(vertices: tuple[int, ...]) -> NDArray[np.float64]:
    """Return where vertices lie in the texture, (N, 2)."""
    return head_mesh().uv[list(vertices)] * SIZE


def _both(vertices: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Return a line's texels on both halves of the face."""
    mirror = head_mesh().mirror
    return [_texels(vertices), _texels(tuple(int(mirror[v]) for v in vertices))]


def _filled(polygon: NDArray[np.float64], *, softness: float) -> Map:
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(
        cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), softness), dtype=np.float32
    )


def _line(lines: list[NDArray[np.float64]], *, thickness: int, softness: float) -> Map:
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    fixed = [np.round(line * 16).astype(np.int32) for line in lines]
    cv2.polylines(mask, fixed, False, 255, thickness, cv2.LINE_AA, 4)
    return np.asarray(
        cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), softness), dtype=np.float32
    )


def _blend(canvas: NDArray[np.float32], colour: Colour, weight: Map) -> None:
    # Most weights are zero but for a few rows and columns.
    painted = weight != 0
    rows, columns = _extent(painted.any(axis=1)), _extent(painted.any(axis=0))
    area = canvas[rows, columns, :3]
    area += weight[rows, columns, None] * (colour.astype(np.float32) - area)


def _extent(used: NDArray[np.bool_]) -> slice:
    """Return the slice from the first to the last that is used."""
    places = np.flatnonzero(used)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _paint_head(identity: Identity, rng: np.random.Generator) -> NDArray[np.float32]:
    canvas = np.empty((SIZE, SIZE, 4), dtype=np.float32)
    canvas[..., :3] = identity.skin
    canvas[..., 3] = 0.1 * identity.shine
    _paint_skin(canvas, identity, rng)
    _paint_eyes(canvas, identity)
    _paint_lips(canvas, identity, rng)
    _paint_hair(canvas, identity, rng)
    return canvas


def _paint_skin(canvas: NDArray[np.float32], identity: Identity, rng: np.random.Generator) -> None:
    uneven = 0.5 + identity.age
    mottle = 0.02 * uneven * (_noise(rng, 12) + 0.7 * _noise(rng, 40)) + 0.012 * _noise(rng, 150)
    canvas[..., :3] *= (1 + mottle)[..., None]
    blush = 0.5 * _bell(4.2, -0.6, 1.5, 1.2) + 0.5 * _bell(0, -0.6, 1.0, 0.8)
    canvas[..., :3] *= 1 - blush[..., None] * np.array([0.0, 0.09, 0.08], np.float32)
    shadow = (
        0.16 * _bell(2.9, 3.45, 1.5, 0.45)
        + 0.16 * _bell(1.6, 2.9, 0.5, 0.7)
        + 0.12 * uneven * _bell(3.0, 1.7, 1.2, 0.4)
        + 0.15 * _bell(1.9, -1.2, 0.25, 0.5)
        + 0.16 * _bell(0, -5.85, 1.3, 0.25)
        + 0.12 * _bell(0, -2.2, 0.9, 0.25)
    )
    nostrils = 0.75 * _step(_bell(0.68, -1.78, 0.36, 0.17) - np.float32(0.6), 0.08)
    canvas[..., :3] *= (1 - shadow)[..., None]
    canvas[..., :3] *= (1 - nostrils)[..., None]
    canvas[..., 3] *= 1 + 0.8 * _bell(0, 0.5, 0.5, 2.0) + 0.5 * _bell(0, 6.5, 2.5, 1.0)


def _paint_eyes(canvas: NDArray[np.float32], identity: Identity) -> None:
    lashes = np.array([0.07, 0.05, 0.05])
    upper = _both((33, *UPPER_LID, 133))
    lower = _both((33, *LOWER_LID, 133))
    _blend(canvas, identity.skin * [0.9, 0.72, 0.68], 0.6 * _line(lower, thickness=2, softness=0.8))
    _blend(canvas, lashes, 0.85 * _line(upper, thickness=2, softness=0.8))
    _blend(canvas, lashes, 0.3 * _line(lower, thickness=1, softness=0.8))
    _blend(
        canvas, identity.skin * 0.6, 0.5 * _line(_both(SECOND_UPPER_LID), thickness=1, softness=1.0)
    )


def _paint_lips(canvas: NDArray[np.float32], identity: Identity, rng: np.random.Generator) -> None:
    left, right = OUTER_LIP_CORNERS
    ring = _texels((left, *OUTER_UPPER_LIP, right, *OUTER_LOWER_LIP[::-1]))
    mask = _filled(ring, softness=1.2)
    streaks = 1 + 0.06 * _noise(rng, 160, 20)
    canvas[..., :3] += mask[..., None] * (
        identity.lips.astype(np.float32) * streaks[..., None] - canvas[..., :3]
    )
    canvas[..., 3] += mask * 0.12


def _paint_hair(canvas: NDArray[np.float32], identity: Identity, rng: np.random.Generator) -> None:
    p = rest_positions()
    across, up, front = np.abs(p[..., 0]), p[..., 1], p[..., 2]
    strands = _noise(rng, 200, 60)
    for upper, lower in zip(_both(UPPER_BROW), _both(LOWER_BROW), strict=True):
        middle = (upper + lower) / 2
        half = (upper - lower) / 2 * identity.brow_thickness
        mask = _filled(np.concatenate([middle + half, (middle - half)[::-1]]), softness=1.6)
        hairs = np.clip(identity.brow_density + 0.1 * strands, 0, 1)
        _blend(canvas, identity.hair * 0.8, mask * hairs)
    limit = np.interp(across, [0, 2.3, 4.2, 6.3, 7.4], [-2.4, -2.7, -4.4, -3.2, 1.0])
    beard = _step((limit - up).astype(np.float32), 0.35) * (front > -3)
    left, right = OUTER_LIP_CORNERS
    lips = _filled(_texels((left, *OUTER_UPPER_LIP, right, *OUTER_LOWER_LIP[::-1])), softness=1.5)
    stubble = identity.beard * np.clip(1 + 0.35 * _noise(rng, 190), 0, 1.4) * (1 - lips)
    _blend(canvas, identity.hair, np.clip(beard * stubble, 0, 0.95))
    if identity.hair_length:
        line = identity.hairline - 0.025 * across**2 + 0.2 * _noise(rng, 40)
        back = np.interp(front, [-6, -3, -1.5, 0.5, 3.0], [-5.5, 1.5, 3.0, 6.0, 20.0])
        crown = np.maximum(_step(up - line, 0.15), _step((up - back).astype(np.float32), 0.2))
        _blend(canvas, identity.hair * 0.9, crown * np.clip(0.93 + 0.1 * strands, 0, 1))
        canvas[..., 3] *= 1 - 0.6 * crown


def _paint_tile(name: str, identity: Identity, rng: np.random.Generator) -> NDArray[np.float32]:
    tile = np.empty((TILE, TILE, 4), dtype=np.float32)
    plain = {
        "teeth": (np.array([0.86, 0.82, 0.74]), 0.3),
        "tongue": (np.array([0.72, 0.36, 0.35]), 0.25),
        "skin": (identity.skin * 0.93, 0.05),
        "hair": (identity.hair, 0.06),
        "clothes": (identity.clothes, 0.0),
        "glasses": (identity.glasses_colour, 0.4),
        "eye": (np.array([0.88, 0.85, 0.83]), 0.55),
    }
    tile[..., :3], tile[..., 3] = plain[name]
    if name == "hair":
        tile[..., :3] *= (1 + 0.15 * rng.standard_normal((1, TILE)))[..., None]
    if name == "teeth":
        gaps = np.abs(np.sin(np.linspace(0, 8 * np.pi, TILE))) ** 0.15
        tile[..., :3] *= gaps[None, :, None]
    if name == "eye":
        _paint_iris(tile, identity.iris)
    return tile


def _paint_iris(tile: NDArray[np.float32], colour: Colour) -> None:
    y, x = (np.mgrid[:TILE, :TILE] - (TILE - 1) / 2) / (TILE / 2 - 2)
    radius = np.hypot(x, y)
    iris = _step((0.41 - radius).astype(np.float32), 0.015)
    ring = np.where(radius > 0.35, 0.55, 1.0) * (0.8 + 0.5 * radius / 0.41)
    _blend(tile, colour, iris)
    tile[..., :3] *= (1 - iris * (1 - ring))[..., None]
    _blend(tile, np.full(3, 0.02), _step((0.17 - radius).astype(np.float32), 0.015))
    tile[..., :3] *= (1 - 0.35 * _step((radius - 0.85).astype(np.float32), 0.08))[..., None]


def _slopes(height: Map) -> Floats:
    """Return (SIZE, SIZE, 3): a relief's height and its slopes to the right and up."""
    smooth = cv2.GaussianBlur(height.astype(np.float32), (0, 0), 0.8)
    down, right = np.gradient(smooth, CM_PER_TEXEL)
    return np.stack([smooth, HEIGHT_CM * right, -HEIGHT_CM * down], axis=-1).astype(np.float32)


def _groove(distance: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    """Return the profile of a crease: a furrow with a low wall on both sides."""
    square = (distance / width) ** 2
    return -np.exp(-square) + 0.3 * np.exp(-square / 6)


def _first_relief(rng: np.random.Generator) -> NDArray[np.floating]:
    """Carve forehead, crow's feet, nasolabial folds, dimples, corners of the mouth, chin."""
    p = rest_positions()
    x, across, up = p[..., 0], np.abs(p[..., 0]), p[..., 1]
    height = np.zeros((SIZE, SIZE))
    wave = 0.12 * _noise(rng, 10) + 0.05 * across
    for level in np.array([5.9, 6.55, 7.2]) + rng.uniform(-0.12, 0.12, 3):
        height += _groove(up - level - wave, 0.13) * (up > 5.2)
    for furrow in _everybodys_furrows():
        height += furrow
    chin = (up < -6.0) & (np.abs(x) < 2.6)
    return height + 0.4 * chin * _noise(rng, 80) * (p[..., 2] > 0)


@cache
def _everybodys_furrows() -> tuple[NDArray[np.floating], ...]:
    """Return crow's feet, nasolabial folds, dimples and the lines beside the chin."""
    p = rest_positions()
    across, up = np.abs(p[..., 0]), p[..., 1]
    angle = np.arctan2(up - 2.55, across - 4.3)
    reach = np.hypot(up - 2.55, across - 4.3)
    rays = sum(_groove((angle - a) * reach, 0.09) for a in (-0.45, 0.0, 0.4))
    fold = np.interp(up, [-5.2, -4.3, -3.0, -1.8, -1.0], [3.1, 3.15, 2.75, 2.1, 1.75])
    mouth = np.interp(up, [-6.6, -4.7], [3.0, 2.55])
    return (
        rays * _step((reach - 0.5).astype(np.float32), 0.1) * (across > 4.4) * (reach < 2.3),
        1.3 * _groove(across - fold, 0.26) * (up < -0.8) * (up > -5.0),
        2.0 * _groove(across - 3.35 + 0.15 * (up + 4.3) ** 2, 0.14) * (np.abs(up + 4.3) < 1),
        1.2 * _groove(across - mouth, 0.15) * (up < -4.7) * (up > -6.8),
    )


def _second_relief(rng: np.random.Generator) -> NDArray[np.floating]:
    """Carve the frown lines, the nose's bridge, the bags under the eyes, the puckered lips."""
    p = rest_positions()
    lips = np.sin(p[..., 0] * 2 * np.pi / 0.55 + 0.6 * _noise(rng, 8))
    return _frown_and_bags() + 0.35 * lips * (p[..., 1] < -2.6) * (p[..., 1] > -6.2)


@cache
def _frown_and_bags() -> NDArray[np.floating]:
    p = rest_positions()
    across, up = np.abs(p[..., 0]), p[..., 1]
    height = 1.2 * _groove(across - 0.5 - 0.1 * (up - 4.2) ** 2, 0.14) * (up > 3.4)
    for level in (1.7, 2.3, 2.9):
        height += _groove(up - level + 0.5 * across, 0.12) * (across < 1.5) * (up < 3.4)
    bag = 1.75 - 0.25 * (1 - ((across - 3.1) / 1.6) ** 2)
    height += 1.1 * _groove(up - bag, 0.13) * (across > 1.6)
    return height
