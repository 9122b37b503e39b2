"""Inner loops of the z-buffer: which triangle a pixel shows, and what its corners say there."""

from typing import NamedTuple

import numpy as np

from aufleet.data.synthetic.compiling import ONE, ZERO, Floats, Indices, compiled
from aufleet.data.synthetic.geometry import corners_of

_LEAST_AREA = np.float32(-1e-9)
"""Twice the signed area, in px, of a triangle that is seen from its front is below this."""


class Hits(NamedTuple):
    """What the z-buffer found.

    Attributes:
        triangle: (H, W) the nearest triangle, -1 for none.
        weights: (H, W, 2) weights of that triangle's second and third corner.
    """

    triangle: Indices
    weights: Floats


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
        a, b, c = corners_of(triangles, t)
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0] - ax, points[b, 1] - ay
        cx, cy = points[c, 0] - ax, points[c, 1] - ay
        area = bx * cy - by * cx
        if area > _LEAST_AREA:
            continue
        left, right = _pixels_between(ax + min(bx, cx, ZERO), ax + max(bx, cx, ZERO), last_x)
        top, bottom = _pixels_between(ay + min(by, cy, ZERO), ay + max(by, cy, ZERO), last_y)
        inverse, az = ONE / area, points[a, 2]
        bz, cz = points[b, 2] - az, points[c, 2] - az
        # Weights grow by the same step from pixel to pixel.
        wb_right, wb_down = cy * inverse, -cx * inverse
        wc_right, wc_down = -by * inverse, bx * inverse
        for y in range(top, bottom + 1):
            dy = np.float32(y) - ay
            for x in range(left, right + 1):
                dx = np.float32(x) - ax
                wb, wc = dx * wb_right + dy * wb_down, dx * wc_right + dy * wc_down
                if wb < ZERO or wc < ZERO or wb + wc > ONE:
                    continue
                z = az + wb * bz + wc * cz
                row, column = np.uintp(y), np.uintp(x)
                if z < depth[row, column]:
                    depth[row, column] = z
                    hits.triangle[row, column] = t
                    hits.weights[row, column, 0] = wb
                    hits.weights[row, column, 1] = wc


@compiled
def _pixels_between(low: np.float32, high: np.float32, last: np.float32) -> tuple[int, int]:
    """Return the first and the last pixel, 0 to `last`, from low to high; (0, -1) for none."""
    low, high = max(low, ZERO), min(high, last)
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
