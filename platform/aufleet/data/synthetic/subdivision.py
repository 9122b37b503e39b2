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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Weights:
    """A sparse matrix: `values[k]` stands at (rows[k], columns[k]); rows are sorted."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: NDArray[np.float64]

    @property
    def starts(self) -> NDArray[np.intp]:
        return np.searchsorted(self.rows, np.arange(self.rows[-1] + 2))


def subdivide(triangles: Triangles, *, num_control: int, levels: int) -> Subdivision:
    """Return the mesh after some levels of Loop's scheme (C. Loop, 1987).

    Every triangle becomes four; open borders follow the cubic B-spline rule.

    Args:
        triangles: (T, 3) over the control vertices; every control vertex is used.
        num_control: Number of control vertices.
        levels: Times that the triangles are split.
    """
    every = np.arange(num_control)
    weights = _Weights(rows=every, columns=every, values=np.ones(num_control))
    for _ in range(levels):
        split, triangles = _split(triangles)
        weights = _product(split, weights)
    return Subdivision(
        triangles=triangles,
        starts=weights.starts.astype(np.int32),
        columns=weights.columns.astype(np.int32),
        weights=weights.values.astype(np.float32),
    )


def _split(triangles: Triangles) -> tuple[_Weights, Triangles]:
    """Return one level's weights over the vertices, and the four times as many triangles."""
    count = int(triangles.max()) + 1
    corners = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges, edge_of = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1)
    border = np.bincount(edge_of) == 1
    odd = count + np.arange(len(edges))
    inner_corner = ~border[edge_of]
    opposite = triangles[:, [2, 0, 1]].reshape(-1)
    entries = [
        *_even_entries(edges, border, count),
        # A new vertex on an edge: its ends, and inside the mesh the corners across from it.
        (odd, edges[:, 0], np.where(border, 1 / 2, 3 / 8)),
        (odd, edges[:, 1], np.where(border, 1 / 2, 3 / 8)),
        (odd[edge_of[inner_corner]], opposite[inner_corner], np.full(inner_corner.sum(), 1 / 8)),
    ]
    a, b, c = triangles.T
    ab, bc, ca = odd[edge_of].reshape(-1, 3).T
    # A triangle's four parts stand together: what is near on the face is near in memory.
    fine = np.stack([a, ab, ca, b, bc, ab, c, ca, bc, ab, bc, ca], axis=1).reshape(-1, 3)
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    return _summed(rows, columns, values), fine


def _even_entries(
    edges: Triangles, border: NDArray[np.bool_], count: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]]:
    """Return (rows, columns, values) for the vertices that were there before."""
    valence = np.bincount(edges.reshape(-1), minlength=count)
    on_border = np.bincount(edges[border].reshape(-1), minlength=count) > 0
    share = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    every = np.arange(count)
    entries = [(every, every, np.where(on_border, 3 / 4, 1 - valence * share))]
    for vertex, neighbour in (edges.T, edges[:, ::-1].T):
        value = np.where(on_border[vertex], border / 8, share[vertex])
        entries.append((vertex, neighbour, value))
    return entries


def _product(second: _Weights, first: _Weights) -> _Weights:
    """Return the weights of applying `first`, then `second`."""
    starts = first.starts
    lengths = np.diff(starts)[second.columns]
    # Each entry of `second` meets a whole row of `first`.
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    entry = np.repeat(starts[second.columns], lengths) + within
    rows = np.repeat(second.rows, lengths)
    values = np.repeat(second.values, lengths) * first.values[entry]
    return _summed(rows, first.columns[entry], values)


def _summed(
    rows: NDArray[np.intp], columns: NDArray[np.intp], values: NDArray[np.float64]
) -> _Weights:
    """Return a sparse matrix from entries in any order that may repeat a place."""
    width = int(columns.max()) + 1
    places, entry_of = np.unique(rows * width + columns, return_inverse=True)
    sums = np.bincount(entry_of.reshape(-1), weights=values).astype(np.float64)
    kept = sums != 0
    places = places[kept]
    return _Weights(rows=places // width, columns=places % width, values=sums[kept])
