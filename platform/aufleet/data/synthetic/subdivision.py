"""Loop subdivision as a linear map from control vertices to fine vertices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Triangles = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subdivision:
    """A fine mesh whose vertices are weighted sums of control vertices.

    Attributes:
        triangles: (T, 3) intp, of fine vertices; fine vertex k < num_control lies at control k.
        starts: (V + 1,) int32, where each fine vertex's weights begin (compressed sparse rows).
        columns: (nnz,) int32, control vertices.
        weights: (nnz,) float32.
    """

    triangles: Triangles
    starts: NDArray[np.int32]
    columns: NDArray[np.int32]
    weights: NDArray[np.float32]

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return control values (N, C) carried to the fine vertices, (V, C)."""
        weighted = values[self.columns].astype(np.float32) * self.weights[:, None]
        return np.add.reduceat(weighted, self.starts[:-1], axis=0)


def subdivide(triangles: Triangles, *, num_control: int, levels: int) -> Subdivision:
    """Return the mesh after some levels of Loop's scheme (C. Loop, 1987).

    Every triangle becomes four; open borders follow the cubic B-spline rule.

    Args:
        triangles: (T, 3) over the control vertices; every control vertex is used.
        num_control: Number of control vertices.
        levels: Times that the triangles are split.
    """
    weights = np.eye(num_control, dtype=np.float32)
    for _ in range(levels):
        weights, triangles = _split(weights, triangles)
    rows, columns = np.nonzero(weights)
    starts = np.searchsorted(rows, np.arange(len(weights) + 1))
    return Subdivision(
        triangles=triangles,
        starts=starts.astype(np.int32),
        columns=columns.astype(np.int32),
        weights=weights[rows, columns],
    )


def _split(
    weights: NDArray[np.float32], triangles: Triangles
) -> tuple[NDArray[np.float32], Triangles]:
    """Apply one level to the rows of a weight matrix."""
    count = len(weights)
    corners = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    opposite = triangles[:, [2, 0, 1]].reshape(-1)
    edges, edge_of = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1)
    shared = np.bincount(edge_of, minlength=len(edges))
    border = shared == 1

    opposite_sum = np.zeros((len(edges), weights.shape[1]), dtype=np.float32)
    np.add.at(opposite_sum, edge_of, weights[opposite])
    ends_sum = weights[edges[:, 0]] + weights[edges[:, 1]]
    inner = 3 / 8 * ends_sum + 1 / 8 * opposite_sum
    odd = np.where(border[:, None], 0.5 * ends_sum, inner)

    even = _smooth_vertices(weights, edges, border)
    middle = count + edge_of.reshape(-1, 3)
    a, b, c = triangles.T
    ab, bc, ca = middle.T
    fine = np.concatenate(
        [np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
    )
    return np.concatenate([even, odd]), fine


def _smooth_vertices(
    weights: NDArray[np.float32], edges: Triangles, border: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the new rows of the old vertices."""
    count = len(weights)

    def neighbour_sum(chosen: Triangles) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        total = np.zeros_like(weights)
        np.add.at(total, chosen[:, 0], weights[chosen[:, 1]])
        np.add.at(total, chosen[:, 1], weights[chosen[:, 0]])
        return total, np.bincount(chosen.reshape(-1), minlength=count)

    all_sum, valence = neighbour_sum(edges)
    border_sum, on_border = neighbour_sum(edges[border])
    share = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1))).astype(np.float32)
    inner = (1 - valence * share)[:, None] * weights + share[:, None] * all_sum
    open_rule = 0.75 * weights + 0.125 * border_sum
    return np.where((on_border > 0)[:, None], open_rule, inner).astype(np.float32)
