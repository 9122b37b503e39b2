"""Inner loops of light: texture, relief, lamp and sky at each pixel that shows a triangle."""

from typing import NamedTuple

import numpy as np

from aufleet.data.synthetic.compiling import (
    HALF,
    ONE,
    TINY,
    ZERO,
    Floats,
    Indices,
    Triple,
    compiled,
    inlined,
)
from aufleet.data.synthetic.geometry import Corners, corners_of
from aufleet.data.synthetic.raster import Hits

_Place = tuple[np.uintp, np.uintp, tuple[np.float32, np.float32, np.float32, np.float32]]
"""Row and column of a texel; the shares of it, its right, its lower, its lower right neighbour."""
_Attributes = tuple[np.float32, ...]
_Channels = tuple[np.float32, ...]
_Lit = tuple[np.float32, np.float32, np.float32, np.float32]
"""Share of the sky, of the key light, openness of the place, shine."""

_SCATTER = np.float32(0.25)
"""Skin scatters light this far around the edge of its shadow."""
_OPEN_SHARE = np.float32(0.35)
"""Share of the key light that reaches even a hidden place, such as the mouth."""
_CREASE_SHADE = np.float32(0.9)
"""Ambient light that a crease of depth 1 keeps out."""

NUM_ATTRIBUTES = 8
"""Of a vertex: texel x, y, normal x, y, z, ambient share, strength of relief 1 and 2."""
TEXEL, NORMAL, AMBIENT, RELIEF = slice(0, 2), slice(2, 5), 5, slice(6, 8)
NUM_CHANNELS = 10
"""Of a texel: linear red, green, blue, shininess; of both reliefs height, slope right, slope up."""
COLOUR, SHININESS, FIRST_RELIEF, SECOND_RELIEF = slice(0, 3), 3, slice(4, 7), slice(7, 10)


class Light(NamedTuple):
    """Where light comes from, in the camera's axes (right, up, to the viewer).

    Numbers instead of arrays: they stay in registers while a picture is shaded.

    Attributes:
        direction: Unit vector to the key light.
        key: Its linear colour.
        sky, ground: Linear colours of ambient light from above and below.
        head_right, head_up: The head's axes, along which reliefs slope.
    """

    direction: Triple
    key: Triple
    sky: Triple
    ground: Triple
    head_right: Triple
    head_up: Triple


@compiled
def shade(
    vertices: Floats,
    triangles: Indices,
    hits: Hits,
    texture: Floats,
    light: Light,
    frame: Floats,
) -> None:
    """Colour the pixels that a triangle hit.

    Args:
        vertices: (V, NUM_ATTRIBUTES).
        triangles: (T, 3).
        hits: Of (H, W) pixels.
        texture: (S', S, NUM_CHANNELS).
        light: What falls on the triangles.
        frame: (H, W, 3) linear light; the background stays where no triangle is hit.
    """
    half = _half_way(light.direction)
    for y in range(frame.shape[0]):
        for x in range(frame.shape[1]):
            t = hits.triangle[y, x]
            if t < 0:
                continue
            wb, wc = hits.weights[y, x, 0], hits.weights[y, x, 1]
            at = _interpolated(vertices, corners_of(triangles, t), (ONE - wb - wc, wb, wc))
            red, green, blue = _light_up(at, _texel(texture, at[0], at[1]), light, half)
            frame[y, x, 0], frame[y, x, 1], frame[y, x, 2] = red, green, blue


@compiled
def _half_way(direction: Triple) -> Triple:
    """Return the unit vector between one to the light and the viewer, who stands far away on +z."""
    x, y, z = direction[0], direction[1], direction[2] + ONE
    scale = ONE / (np.sqrt(x * x + y * y + z * z) + TINY)
    return x * scale, y * scale, z * scale


@inlined
def _interpolated(vertices: Floats, corners: Corners, weights: Triple) -> _Attributes:
    """Return what a point within a triangle has of its corners' attributes.

    Of numbers, not of arrays, as all that happens for each pixel: they stay in registers.
    """
    return (
        _mixed(vertices, corners, weights, 0),
        _mixed(vertices, corners, weights, 1),
        _mixed(vertices, corners, weights, 2),
        _mixed(vertices, corners, weights, 3),
        _mixed(vertices, corners, weights, 4),
        _mixed(vertices, corners, weights, 5),
        _mixed(vertices, corners, weights, 6),
        _mixed(vertices, corners, weights, 7),
    )


@inlined
def _mixed(vertices: Floats, corners: Corners, weights: Triple, k: int) -> np.float32:
    a, b, c = corners
    return weights[0] * vertices[a, k] + weights[1] * vertices[b, k] + weights[2] * vertices[c, k]


@inlined
def _texel(texture: Floats, x: np.float32, y: np.float32) -> _Channels:
    """Return a texture's values between its texels."""
    x = min(max(x, ZERO), np.float32(texture.shape[1]) - np.float32(1.001))
    y = min(max(y, ZERO), np.float32(texture.shape[0]) - np.float32(1.001))
    column, row = np.int32(x), np.int32(y)
    right, down = x - np.float32(column), y - np.float32(row)
    both = right * down
    place = (
        np.uintp(row),
        np.uintp(column),
        (ONE - right - down + both, right - both, down - both, both),
    )
    return (
        _between_texels(texture, place, 0),
        _between_texels(texture, place, 1),
        _between_texels(texture, place, 2),
        _between_texels(texture, place, 3),
        _between_texels(texture, place, 4),
        _between_texels(texture, place, 5),
        _between_texels(texture, place, 6),
        _between_texels(texture, place, 7),
        _between_texels(texture, place, 8),
        _between_texels(texture, place, 9),
    )


@inlined
def _between_texels(texture: Floats, place: _Place, k: int) -> np.float32:
    row, column, (here, beside, below, across) = place
    next_row, next_column = row + np.uintp(1), column + np.uintp(1)
    return (
        here * texture[row, column, k]
        + beside * texture[row, next_column, k]
        + below * texture[next_row, column, k]
        + across * texture[next_row, next_column, k]
    )


@inlined
def _light_up(at: _Attributes, texel: _Channels, light: Light, half: Triple) -> Triple:
    """Return the light that a point of the surface sends to the camera."""
    first, second, ambient_share = at[6], at[7], at[5]
    crease = first * texel[4] + second * texel[7]
    right = first * texel[5] + second * texel[8]
    up = first * texel[6] + second * texel[9]
    nx = at[2] - right * light.head_right[0] - up * light.head_up[0]
    ny = at[3] - right * light.head_right[1] - up * light.head_up[1]
    nz = at[4] - right * light.head_right[2] - up * light.head_up[2]
    scale = ONE / np.sqrt(nx * nx + ny * ny + nz * nz + TINY)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    facing = nx * light.direction[0] + ny * light.direction[1] + nz * light.direction[2]
    facing = max((facing + _SCATTER) / (ONE + _SCATTER), ZERO)
    facing *= _OPEN_SHARE + (ONE - _OPEN_SHARE) * ambient_share
    shine = max(nx * half[0] + ny * half[1] + nz * half[2], ZERO)
    # To the power of 16.
    for _ in range(4):
        shine *= shine
    shine *= texel[3] * ambient_share
    openness = ONE + _CREASE_SHADE * crease
    openness = ambient_share * min(max(openness, np.float32(0.35)), np.float32(1.3))
    sky = HALF + HALF * ny
    lit = sky, facing, openness, shine
    return (
        _seen(texel[0], light, lit, 0),
        _seen(texel[1], light, lit, 1),
        _seen(texel[2], light, lit, 2),
    )


@inlined
def _seen(albedo: np.float32, light: Light, lit: _Lit, k: int) -> np.float32:
    sky, facing, openness, shine = lit
    ambient = sky * light.sky[k] + (ONE - sky) * light.ground[k]
    return albedo * (ambient + light.key[k] * facing) * openness + light.key[k] * shine
