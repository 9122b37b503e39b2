"""Inner loops over vertices and triangles: move, subdivide, see, and the normals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.compiling import ONE, TINY, ZERO, Floats, Indices, compiled

Corners = tuple[np.uintp, np.uintp, np.uintp]

NUM_CARRIED = 5
"""Of a control vertex, what moves: x, y, z, strength of relief 1 and 2."""


class View(NamedTuple):
    """Points as a camera sees them, (V, 3) each.

    Attributes:
        turned: In its axes (right, up, to the viewer), cm.
        screen: Pixel x, pixel y (down), distance in cm from the plane through the head.
    """

    turned: Floats
    screen: Floats


@compiled
def corners_of(triangles: Indices, t: int) -> Corners:
    """Return a triangle's vertices; unsigned, as a signed index is asked whether it is negative."""
    return np.uintp(triangles[t, 0]), np.uintp(triangles[t, 1]), np.uintp(triangles[t, 2])


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
        x = y = z = first = second = ZERO
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
    result[:] = ZERO
    for t in range(len(triangles)):
        a, b, c = corners_of(triangles, t)
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
        scale = ONE / np.sqrt(x * x + y * y + z * z + TINY)
        result[vertex, 0], result[vertex, 1], result[vertex, 2] = x * scale, y * scale, z * scale
