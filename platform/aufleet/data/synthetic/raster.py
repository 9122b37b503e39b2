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

Triple = tuple[np.float32, np.float32, np.float32]
_Corners = tuple[np.uintp, np.uintp, np.uintp]
_Place = tuple[np.uintp, np.uintp, tuple[np.float32, np.float32, np.float32, np.float32]]
"""Row and column of a texel; the shares of it, its right, its lower, its lower right neighbour."""
_Attributes = tuple[np.float32, ...]
_Channels = tuple[np.float32, ...]
_Lit = tuple[np.float32, np.float32, np.float32, np.float32]
"""Share of the sky, of the key light, openness of the place, shine."""

_Function = TypeVar("_Function", bound=Callable[..., object])
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_TINY = np.float32(1e-12)
_LEAST_AREA = np.float32(-1e-9)
"""Twice the signed area, in px, of a triangle that is seen from its front is below this."""

_SCATTER = np.float32(0.25)
"""Skin scatters light this far around the edge of its shadow."""
_OPEN_SHARE = np.float32(0.35)
"""Share of the key light that reaches even a hidden place, such as the mouth."""
_CREASE_SHADE = np.float32(0.9)
"""Ambient light that a crease of depth 1 keeps out."""

NUM_ATTRIBUTES = 8
"""Of a vertex: texel x, y, normal x, y, z, ambient share, strength of relief 1 and 2."""
TEXEL, NORMAL, AMBIENT, RELIEF = slice(0, 2), slice(2, 5), 5, slice(6, 8)
NUM_CARRIED = 5
"""Of a control vertex, what moves: x, y, z, strength of relief 1 and 2."""
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


class View(NamedTuple):
    """Points as a camera sees them, (V, 3) each.

    Attributes:
        turned: In its axes (right, up, to the viewer), cm.
        screen: Pixel x, pixel y (down), distance in cm from the plane through the head.
    """

    turned: Floats
    screen: Floats


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


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call and keep the machine code on disk where that works."""
    return _compiled(function, fastmath=True)


def exactly_compiled(function: _Function) -> _Function:
    """Compile a function whose numbers are those of numpy, bit for bit."""
    return _compiled(function, fastmath=False)


def _inlined(function: _Function) -> _Function:
    """Compile a function into its callers, a pixel's work as one piece."""
    return cast(_Function, numba.njit(inline="always", **_options(fastmath=True))(function))


def _compiled(function: _Function, *, fastmath: bool) -> _Function:
    options = _options(fastmath=fastmath)
    try:
        return cast(_Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder can be written.
        return cast(_Function, numba.njit(**options)(function))


def _options(*, fastmath: bool) -> dict[str, Any]:
    return {"fastmath": fastmath, "error_model": "numpy"}


@compiled
def blend(
    shares: NDArray[np.float64], fields: NDArray[np.float64], result: NDArray[np.float64]
) -> None:
    """Add to result (N,) the sum of fields (F, N), each times its share (F,)."""
    for k in range(len(shares)):
        share = shares[k]
        if share != 0:
            for place in range(len(result)):
                result[place] += share * fields[k, place]


@compiled
def weighted_sums(
    values: Floats, starts: Indices, columns: Indices, weights: Floats, result: Floats
) -> None:
    """Fill result (V, NUM_CARRIED) with the sparse rows' weighted sums of values (N, NUM_CARRIED).

    The number of columns is a constant, so that the sums stay in registers.
    """
    for row in range(len(starts) - 1):
        x = y = z = first = second = _ZERO
        for k in range(starts[row], starts[row + 1]):
            weight, column = weights[k], np.uintp(columns[k])
            x += weight * values[column, 0]
            y += weight * values[column, 1]
            z += weight * values[column, 2]
            first += weight * values[column, 3]
            second += weight * values[column, 4]
        result[row, 0], result[row, 1], result[row, 2] = x, y, z
        result[row, 3], result[row, 4] = first, second


@compiled
def project(
    points: Floats, rotation: Floats, distance_cm: np.float32, to_screen: Floats, view: View
) -> None:
    """Turn points and see them from a distance.

    The same sums on every machine: a linear algebra library's order depends on its threads.

    Args:
        points: (V, 3) cm in the head's axes.
        rotation: (3, 3) to the camera's axes.
        distance_cm: Of the camera.
        to_screen: (2, 3) map of cm in the plane through the head, y down, to pixels.
        view: Of (V, 3) each; filled.
    """
    turned, screen = view.turned, view.screen
    for row in range(len(points)):
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        for axis in range(3):
            turned[row, axis] = (
                rotation[axis, 0] * x + rotation[axis, 1] * y + rotation[axis, 2] * z
            )
        scale = distance_cm / (distance_cm - turned[row, 2])
        right, down = turned[row, 0] * scale, -turned[row, 1] * scale
        for axis in range(2):
            screen[row, axis] = (
                to_screen[axis, 0] * right + to_screen[axis, 1] * down + to_screen[axis, 2]
            )
        screen[row, 2] = -turned[row, 2]


@compiled
def vertex_normals(points: Floats, triangles: Indices, result: Floats) -> None:
    """Fill result (V, 3) with unit normals, the area-weighted mean of the triangles around."""
    result[:] = _ZERO
    for t in range(len(triangles)):
        a, b, c = _corners(triangles, t)
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
    last_x, last_y = np.float32(depth.shape[1] - 1), np.float32(depth.shape[0] - 1)
    for t in range(len(triangles)):
        a, b, c = _corners(triangles, t)
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0] - ax, points[b, 1] - ay
        cx, cy = points[c, 0] - ax, points[c, 1] - ay
        area = bx * cy - by * cx
        if area > _LEAST_AREA:
            continue
        left, right = _pixels_between(ax + min(bx, cx, _ZERO), ax + max(bx, cx, _ZERO), last_x)
        top, bottom = _pixels_between(ay + min(by, cy, _ZERO), ay + max(by, cy, _ZERO), last_y)
        inverse, az = _ONE / area, points[a, 2]
        bz, cz = points[b, 2] - az, points[c, 2] - az
        # Weights grow by the same step from pixel to pixel.
        wb_right, wb_down = cy * inverse, -cx * inverse
        wc_right, wc_down = -by * inverse, bx * inverse
        for y in range(top, bottom + 1):
            dy = np.float32(y) - ay
            for x in range(left, right + 1):
                dx = np.float32(x) - ax
                wb, wc = dx * wb_right + dy * wb_down, dx * wc_right + dy * wc_down
                if wb < _ZERO or wc < _ZERO or wb + wc > _ONE:
                    continue
                z = az + wb * bz + wc * cz
                row, column = np.uintp(y), np.uintp(x)
                if z < depth[row, column]:
                    depth[row, column] = z
                    hits.triangle[row, column] = t
                    hits.weights[row, column, 0] = wb
                    hits.weights[row, column, 1] = wc


@compiled
def _corners(triangles: Indices, t: int) -> _Corners:
    """Return a triangle's vertices; unsigned, as a signed index is asked whether it is negative."""
    return np.uintp(triangles[t, 0]), np.uintp(triangles[t, 1]), np.uintp(triangles[t, 2])


@compiled
def _pixels_between(low: np.float32, high: np.float32, last: np.float32) -> tuple[int, int]:
    """Return the first and the last pixel, 0 to `last`, from low to high; (0, -1) for none."""
    low, high = max(low, _ZERO), min(high, last)
    if low > high:
        return 0, -1
    first = np.int32(low)
    if np.float32(first) < low:
        first += np.int32(1)
    return int(first), int(high)


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
    half = _half_way(light.direction)
    for y in range(frame.shape[0]):
        for x in range(frame.shape[1]):
            t = hits.triangle[y, x]
            if t < 0:
                continue
            wb, wc = hits.weights[y, x, 0], hits.weights[y, x, 1]
            at = _interpolated(vertices, _corners(triangles, t), (_ONE - wb - wc, wb, wc))
            red, green, blue = _light_up(at, _texel(texture, at[0], at[1]), light, half)
            frame[y, x, 0], frame[y, x, 1], frame[y, x, 2] = red, green, blue


@compiled
def _half_way(direction: Triple) -> Triple:
    """Return the unit vector between one to the light and the viewer, who stands far away on +z."""
    x, y, z = direction[0], direction[1], direction[2] + _ONE
    scale = _ONE / (np.sqrt(x * x + y * y + z * z) + _TINY)
    return x * scale, y * scale, z * scale


@_inlined
def _interpolated(vertices: Floats, corners: _Corners, weights: Triple) -> _Attributes:
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


@_inlined
def _mixed(vertices: Floats, corners: _Corners, weights: Triple, k: int) -> np.float32:
    a, b, c = corners
    return weights[0] * vertices[a, k] + weights[1] * vertices[b, k] + weights[2] * vertices[c, k]


@_inlined
def _texel(texture: Floats, x: np.float32, y: np.float32) -> _Channels:
    """Return a texture's values between its texels."""
    x = min(max(x, _ZERO), np.float32(texture.shape[1]) - np.float32(1.001))
    y = min(max(y, _ZERO), np.float32(texture.shape[0]) - np.float32(1.001))
    column, row = np.int32(x), np.int32(y)
    right, down = x - np.float32(column), y - np.float32(row)
    both = right * down
    place = (
        np.uintp(row),
        np.uintp(column),
        (_ONE - right - down + both, right - both, down - both, both),
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


@_inlined
def _between_texels(texture: Floats, place: _Place, k: int) -> np.float32:
    row, column, (here, beside, below, across) = place
    next_row, next_column = row + np.uintp(1), column + np.uintp(1)
    return (
        here * texture[row, column, k]
        + beside * texture[row, next_column, k]
        + below * texture[next_row, column, k]
        + across * texture[next_row, next_column, k]
    )


@_inlined
def _light_up(at: _Attributes, texel: _Channels, light: Light, half: Triple) -> Triple:
    """Return the light that a point of the surface sends to the camera."""
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
    lit = sky, facing, openness, shine
    return (
        _seen(texel[0], light, lit, 0),
        _seen(texel[1], light, lit, 1),
        _seen(texel[2], light, lit, 2),
    )


@_inlined
def _seen(albedo: np.float32, light: Light, lit: _Lit, k: int) -> np.float32:
    sky, facing, openness, shine = lit
    ambient = sky * light.sky[k] + (_ONE - sky) * light.ground[k]
    return albedo * (ambient + light.key[k] * facing) * openness + light.key[k] * shine


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
