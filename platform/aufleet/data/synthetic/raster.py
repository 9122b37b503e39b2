"""The inner loops of the renderer, compiled by numba: subdivide, normals, z-buffer, shading.

All work on one thread: data sets are rendered by many processes.
"""

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call and keep the machine code on disk where that works."""
    try:
        return numba.njit(cache=True, fastmath=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache folder can be written.
        return numba.njit(fastmath=True, error_model="numpy")(function)


@compiled
def weighted_sums(
    values: NDArray[np.float32],
    starts: NDArray[np.int32],
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
    result: NDArray[np.float32],
) -> None:
    """Fill result (V, C) with the sparse rows' weighted sums of values (N, C)."""
    for row in range(len(starts) - 1):
        for channel in range(values.shape[1]):
            total = np.float32(0.0)
            for k in range(starts[row], starts[row + 1]):
                total += weights[k] * values[columns[k], channel]
            result[row, channel] = total


@compiled
def vertex_normals(
    points: NDArray[np.float32], triangles: NDArray[np.int32], result: NDArray[np.float32]
) -> None:
    """Fill result (V, 3) with unit normals, the area-weighted mean of the triangles around."""
    result[:] = 0.0
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = (
            points[b, 0] - points[a, 0],
            points[b, 1] - points[a, 1],
            points[b, 2] - points[a, 2],
        )
        vx, vy, vz = (
            points[c, 0] - points[a, 0],
            points[c, 1] - points[a, 1],
            points[c, 2] - points[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for vertex in (a, b, c):
            result[vertex, 0] += nx
            result[vertex, 1] += ny
            result[vertex, 2] += nz
    for vertex in range(len(points)):
        x, y, z = result[vertex, 0], result[vertex, 1], result[vertex, 2]
        length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-12)
        result[vertex, 0] = x / length
        result[vertex, 1] = y / length
        result[vertex, 2] = z / length


@compiled
def fill_triangles(
    points: NDArray[np.float32],
    triangles: NDArray[np.int32],
    depth: NDArray[np.float32],
    hit: NDArray[np.int32],
    inside: NDArray[np.float32],
) -> None:
    """Draw triangles into a z-buffer.

    Args:
        points: (V, 3) pixel x, pixel y (pixel centres at whole numbers), distance.
        triangles: (T, 3); those that turn counter-clockwise on the screen (y down) are skipped.
        depth: (H, W) filled with infinity before the first call.
        hit: (H, W) becomes the nearest triangle; -1 stays where there is none.
        inside: (H, W, 2) becomes the weights of that triangle's second and third corner.
    """
    height, width = depth.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= -1e-9:
            continue
        left = max(int(np.ceil(min(ax, bx, cx))), 0)
        right = min(int(np.floor(max(ax, bx, cx))), width - 1)
        top = max(int(np.ceil(min(ay, by, cy))), 0)
        bottom = min(int(np.floor(max(ay, by, cy))), height - 1)
        inverse = np.float32(1.0) / area
        az, bz, cz = points[a, 2], points[b, 2], points[c, 2]
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
                if wb < 0 or wc < 0 or wb + wc > 1:
                    continue
                z = az + wb * (bz - az) + wc * (cz - az)
                if z < depth[y, x]:
                    depth[y, x] = z
                    hit[y, x] = t
                    inside[y, x, 0] = wb
                    inside[y, x, 1] = wc


@compiled
def interpolate(
    values: NDArray[np.float32],
    triangles: NDArray[np.int32],
    hit: NDArray[np.int32],
    inside: NDArray[np.float32],
    result: NDArray[np.float32],
) -> None:
    """Fill result (H, W, C) with vertex values (V, C) at the pixels that a triangle hit."""
    for y in range(hit.shape[0]):
        for x in range(hit.shape[1]):
            t = hit[y, x]
            if t < 0:
                continue
            wb, wc = inside[y, x, 0], inside[y, x, 1]
            for channel in range(values.shape[1]):
                result[y, x, channel] = (
                    (1 - wb - wc) * values[triangles[t, 0], channel]
                    + wb * values[triangles[t, 1], channel]
                    + wc * values[triangles[t, 2], channel]
                )


@compiled
def shade(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    hit: NDArray[np.int32],
    inside: NDArray[np.float32],
    texture: NDArray[np.float32],
    relief: NDArray[np.float32],
    light: NDArray[np.float32],
    frame: NDArray[np.float32],
) -> None:
    """Colour the pixels that a triangle hit.

    Args:
        vertices: (V, 8) texel x, texel y, normal x y z, ambient share, strength of relief 1 and 2.
        triangles: (T, 3).
        hit: (H, W) triangle of a pixel, -1 for none.
        inside: (H, W, 2) weights of the second and third corner.
        texture: (S, S', 4) linear red, green, blue and shininess.
        relief: (S, S', 6) height and its slopes to the right and up for the two reliefs.
        light: (6, 3) direction to the key light, its colour, ambient colour from above, from
            below, the head's right axis and up axis, all in the camera's axes.
        frame: (H, W, 3) linear light; background where no triangle is hit stays.
    """
    rows, columns = texture.shape[:2]
    lx, ly, lz = light[0, 0], light[0, 1], light[0, 2]
    # Half-way vector between the light and the viewer, who stands far away on +z.
    half = np.sqrt(lx * lx + ly * ly + (lz + 1) * (lz + 1)) + np.float32(1e-6)
    hx, hy, hz = lx / half, ly / half, (lz + 1) / half
    v = np.empty(8, dtype=np.float32)
    colour = np.empty(4, dtype=np.float32)
    bumps = np.empty(6, dtype=np.float32)
    for y in range(hit.shape[0]):
        for x in range(hit.shape[1]):
            t = hit[y, x]
            if t < 0:
                continue
            wb, wc = inside[y, x, 0], inside[y, x, 1]
            wa = 1 - wb - wc
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for k in range(8):
                v[k] = wa * vertices[a, k] + wb * vertices[b, k] + wc * vertices[c, k]
            tx = min(max(v[0], np.float32(0.0)), np.float32(columns - 1.001))
            ty = min(max(v[1], np.float32(0.0)), np.float32(rows - 1.001))
            ix, iy = int(tx), int(ty)
            fx, fy = tx - ix, ty - iy
            for k in range(4):
                above = texture[iy, ix, k] * (1 - fx) + texture[iy, ix + 1, k] * fx
                below = texture[iy + 1, ix, k] * (1 - fx) + texture[iy + 1, ix + 1, k] * fx
                colour[k] = above * (1 - fy) + below * fy
            nx, ny, nz = v[2], v[3], v[4]
            crease = np.float32(0.0)
            if abs(v[6]) + abs(v[7]) > 0.02:
                for k in range(6):
                    above = relief[iy, ix, k] * (1 - fx) + relief[iy, ix + 1, k] * fx
                    below = relief[iy + 1, ix, k] * (1 - fx) + relief[iy + 1, ix + 1, k] * fx
                    bumps[k] = above * (1 - fy) + below * fy
                crease = v[6] * bumps[0] + v[7] * bumps[3]
                right = v[6] * bumps[1] + v[7] * bumps[4]
                up = v[6] * bumps[2] + v[7] * bumps[5]
                nx -= right * light[4, 0] + up * light[5, 0]
                ny -= right * light[4, 1] + up * light[5, 1]
                nz -= right * light[4, 2] + up * light[5, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6)
            nx, ny, nz = nx / length, ny / length, nz / length
            # Skin scatters light a little around the edge of its shadow.
            facing = (nx * lx + ny * ly + nz * lz + np.float32(0.25)) / np.float32(1.25)
            facing = max(facing, np.float32(0.0)) * (0.35 + 0.65 * v[5])
            shine = max(nx * hx + ny * hy + nz * hz, np.float32(0.0))
            shine = shine * shine
            shine = shine * shine
            shine = shine * shine
            shine = colour[3] * shine * shine * v[5]
            # A crease keeps ambient light out.
            open_ = v[5] * min(max(1 + np.float32(0.9) * crease, np.float32(0.35)), np.float32(1.3))
            sky = np.float32(0.5) + np.float32(0.5) * ny
            for k in range(3):
                ambient = sky * light[2, k] + (1 - sky) * light[3, k]
                frame[y, x, k] = (
                    colour[k] * (ambient + light[1, k] * facing) * open_ + light[1, k] * shine
                )
