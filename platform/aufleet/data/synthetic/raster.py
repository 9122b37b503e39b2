"""The inner loops of the renderer, compiled by numba: subdivide, normals, z-buffer, shading.

All work on one thread: data sets are rendered by many processes. Numbers are float32 throughout;
`_ONE` and its like keep numba from widening them to float64.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
Bytes = NDArray[np.uint8]

_Function = TypeVar("_Function", bound=Callable[..., object])
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_TINY = np.float32(1e-12)

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


class Hits(NamedTuple):
    """What the z-buffer found.

    Attributes:
        triangle: (H, W) the nearest triangle, -1 for none.
        weights: (H, W, 2) weights of that triangle's second and third corner.
    """

    triangle: Indices
    weights: Floats


class Light(NamedTuple):
    """Where light comes from, in the camera's axes (right, up, to the viewer), (3,) each.

    Attributes:
        direction: Unit vector to the key light.
        key: Its linear colour.
        sky, ground: Linear colours of ambient light from above and below.
        head_right, head_up: The head's axes, along which reliefs slope.
    """

    direction: Floats
    key: Floats
    sky: Floats
    ground: Floats
    head_right: Floats
    head_up: Floats


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call and keep the machine code on disk where that works."""
    return _compiled(function, fastmath=True)


def exactly_compiled(function: _Function) -> _Function:
    """Compile a function whose numbers are those of numpy, bit for bit."""
    return _compiled(function, fastmath=False)


def _compiled(function: _Function, *, fastmath: bool) -> _Function:
    options: dict[str, Any] = {"fastmath": fastmath, "error_model": "numpy"}
    try:
        return cast(_Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder can be written.
        return cast(_Function, numba.njit(**options)(function))


@compiled
def weighted_sums(
    values: Floats, starts: Indices, columns: Indices, weights: Floats, result: Floats
) -> None:
    """Fill result (V, C) with the sparse rows' weighted sums of values (N, C)."""
    num_channels = values.shape[1]
    for row in range(len(starts) - 1):
        for channel in range(num_channels):
            result[row, channel] = _ZERO
        for k in range(starts[row], starts[row + 1]):
            weight, column = weights[k], columns[k]
            for channel in range(num_channels):
                result[row, channel] += weight * values[column, channel]


@compiled
def rotate(points: Floats, rotation: Floats, result: Floats) -> None:
    """Fill result (V, 3) with points (V, 3) turned by a (3, 3) rotation.

    The same sums on every machine: a linear algebra library's order depends on its threads.
    """
    for row in range(len(points)):
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        for axis in range(3):
            result[row, axis] = (
                rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] * z
            )


@compiled
def vertex_normals(points: Floats, triangles: Indices, result: Floats) -> None:
    """Fill result (V, 3) with unit normals, the area-weighted mean of the triangles around."""
    result[:] = _ZERO
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        ux, uy, uz = points[b, 0] - ax, points[b, 1] - ay, points[b, 2] - az
        vx, vy, vz = points[c, 0] - ax, points[c, 1] - ay, points[c, 2] - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for vertex in (a, b, c):
            result[vertex, 0] += nx
            result[vertex, 1] += ny
            result[vertex, 2] += nz
    for vertex in range(len(points)):
        x, y, z = result[vertex, 0], result[vertex, 1], result[vertex, 2]
        scale = _ONE / np.sqrt(x * x + y * y + z * z + _TINY)
        result[vertex, 0], result[vertex, 1], result[vertex, 2] = x * scale, y * scale, z * scale


@compiled
def fill_triangles(points: Floats, triangles: Indices, depth: Floats, hits: Hits) -> None:
    """Draw triangles into a z-buffer.

    Args:
        points: (V, 3) pixel x, pixel y (pixel centres at whole numbers, y down), distance.
        triangles: (T, 3); those that do not turn counter-clockwise as one sees them are skipped.
        depth: (H, W) filled with infinity before the first call.
        hits: Of (H, W) pixels; filled where a triangle is nearer than what was there.
    """
    height, width = depth.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by = points[b, 0] - ax, points[b, 1] - ay
        cx, cy = points[c, 0] - ax, points[c, 1] - ay
        area = bx * cy - by * cx
        if area > -1e-9:
            continue
        left = max(int(np.ceil(ax + min(bx, cx, _ZERO))), 0)
        right = min(int(np.floor(ax + max(bx, cx, _ZERO))), width - 1)
        top = max(int(np.ceil(ay + min(by, cy, _ZERO))), 0)
        bottom = min(int(np.floor(ay + max(by, cy, _ZERO))), height - 1)
        inverse = _ONE / area
        bz, cz = points[b, 2] - az, points[c, 2] - az
        for y in range(top, bottom + 1):
            dy = np.float32(y) - ay
            for x in range(left, right + 1):
                dx = np.float32(x) - ax
                wb = (dx * cy - dy * cx) * inverse
                wc = (bx * dy - by * dx) * inverse
                if wb < _ZERO or wc < _ZERO or wb + wc > _ONE:
                    continue
                z = az + wb * bz + wc * cz
                if z < depth[y, x]:
                    depth[y, x] = z
                    hits.triangle[y, x] = t
                    hits.weights[y, x, 0] = wb
                    hits.weights[y, x, 1] = wc


@compiled
def interpolate(values: Floats, triangles: Indices, hits: Hits, result: Floats) -> None:
    """Fill result (H, W, C) with vertex values (V, C) at the pixels that a triangle hit."""
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            t = hits.triangle[y, x]
            if t < 0:
                continue
            wb, wc = hits.weights[y, x, 0], hits.weights[y, x, 1]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for k in range(values.shape[1]):
                first, second, third = values[a, k], values[b, k], values[c, k]
                result[y, x, k] = first + wb * (second - first) + wc * (third - first)


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
    # Half-way vector between the light and the viewer, who stands far away on +z.
    half = light.direction.copy()
    half[2] += _ONE
    half /= np.sqrt((half * half).sum()) + _TINY
    at = np.empty(NUM_ATTRIBUTES, dtype=np.float32)
    texel = np.empty(NUM_CHANNELS, dtype=np.float32)
    colour = np.empty(3, dtype=np.float32)
    for y in range(frame.shape[0]):
        for x in range(frame.shape[1]):
            t = hits.triangle[y, x]
            if t < 0:
                continue
            wb, wc = hits.weights[y, x, 0], hits.weights[y, x, 1]
            wa = _ONE - wb - wc
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for k in range(NUM_ATTRIBUTES):
                at[k] = wa * vertices[a, k] + wb * vertices[b, k] + wc * vertices[c, k]
            _look_up(texture, at[0], at[1], texel)
            _light_up(at, texel, light, half, colour)
            for k in range(3):
                frame[y, x, k] = colour[k]


@compiled
def _look_up(texture: Floats, x: np.float32, y: np.float32, result: Floats) -> None:
    """Fill result (NUM_CHANNELS,) with a texture's values between its texels."""
    x = min(max(x, _ZERO), np.float32(texture.shape[1]) - np.float32(1.001))
    y = min(max(y, _ZERO), np.float32(texture.shape[0]) - np.float32(1.001))
    column, row = int(x), int(y)
    right, down = x - np.float32(column), y - np.float32(row)
    w00, w01 = (_ONE - right) * (_ONE - down), right * (_ONE - down)
    w10, w11 = (_ONE - right) * down, right * down
    for k in range(NUM_CHANNELS):
        result[k] = (
            w00 * texture[row, column, k]
            + w01 * texture[row, column + 1, k]
            + w10 * texture[row + 1, column, k]
            + w11 * texture[row + 1, column + 1, k]
        )


@compiled
def _light_up(at: Floats, texel: Floats, light: Light, half: Floats, colour: Floats) -> None:
    """Fill colour (3,) with the light that a point of the surface sends to the camera."""
    first, second, ambient_share = at[6], at[7], at[5]
    crease = first * texel[4] + second * texel[7]
    right = first * texel[5] + second * texel[8]
    up = first * texel[6] + second * texel[9]
    nx = at[2] - right * light.head_right[0] - up * light.head_up[0]
    ny = at[3] - right * light.head_right[1] - up * light.head_up[1]
    nz = at[4] - right * light.head_right[2] - up * light.head_up[2]
    scale = _ONE / np.sqrt(nx * nx + ny * ny + nz * nz + _TINY)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    facing = nx * light.direction[0] + ny * light.direction[1] + nz * light.direction[2]
    facing = max((facing + _SCATTER) / (_ONE + _SCATTER), _ZERO)
    facing *= _OPEN_SHARE + (_ONE - _OPEN_SHARE) * ambient_share
    shine = max(nx * half[0] + ny * half[1] + nz * half[2], _ZERO)
    # To the power of 16.
    for _ in range(4):
        shine *= shine
    shine *= texel[3] * ambient_share
    openness = _ONE + _CREASE_SHADE * crease
    openness = ambient_share * min(max(openness, np.float32(0.35)), np.float32(1.3))
    sky = _HALF + _HALF * ny
    for k in range(3):
        ambient = sky * light.sky[k] + (_ONE - sky) * light.ground[k]
        diffuse = texel[k] * (ambient + light.key[k] * facing) * openness
        colour[k] = diffuse + light.key[k] * shine


@exactly_compiled
def store_light(linear: Floats, result: Floats) -> None:
    """Fill result (N,) with the levels, 0 to 255, in which a camera stores linear light (N,)."""
    for k in range(len(linear)):
        light = min(max(linear[k], _ZERO), _ONE)
        result[k] = np.sqrt(light) * np.float32(255)


@exactly_compiled
def add_noise(levels: Floats, noise: Floats, strength: np.float32, result: Bytes) -> None:
    """Fill result (H, W, 3) with levels and a sensor's noise (H, W), which is grey."""
    for y in range(levels.shape[0]):
        for x in range(levels.shape[1]):
            grain = strength * noise[y, x]
            for k in range(3):
                level = levels[y, x, k] + grain + _HALF
                result[y, x, k] = np.uint8(min(max(level, _ZERO), np.float32(255)))
