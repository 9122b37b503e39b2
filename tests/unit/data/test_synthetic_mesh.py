from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from aufleet.data.synthetic import canonical
from aufleet.data.synthetic.canonical import canonical_face, parse_metadata, read_metadata
from aufleet.data.synthetic.compiling import compiled
from aufleet.data.synthetic.head import head_mesh
from aufleet.data.synthetic.subdivision import subdivide
from aufleet.errors import EnvironmentProblem


def test_the_canonical_face_is_the_one_of_mediapipe() -> None:
    face = canonical_face()
    assert face.vertices.shape == (468, 3)
    assert face.triangles.shape == (898, 3)
    assert set(face.triangles.reshape(-1)) == set(range(468))
    # The tip of the nose lies in the middle, in front; the right eye lies left in the picture.
    assert face.vertices[4] == pytest.approx([0, -0.463, 7.587], abs=1e-3)
    assert face.vertices[33, 0] < 0 < face.vertices[263, 0]


def test_another_bundle_is_refused_by_name(tmp_path: Path) -> None:
    bundle = tmp_path / "face_landmarker.task"
    with pytest.raises(EnvironmentProblem, match="is missing"):
        read_metadata(bundle)
    bundle.write_bytes(b"something else")
    with pytest.raises(EnvironmentProblem, match=r"face_landmarker\.task has another sha256"):
        read_metadata(bundle)


@pytest.mark.parametrize("data", [b"", b"\x0a", b"\x0a\x05abc", b"\x0a\x02\x1d\x00", b"\x0b"])
def test_a_damaged_mesh_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot be read"):
        parse_metadata(data)


def test_the_bundle_is_read_once_a_process() -> None:
    assert canonical.canonical_face() is canonical.canonical_face()


def test_the_head_is_closed_and_faces_outward_everywhere() -> None:
    triangles = head_mesh().fine.triangles
    edges = Counter((t[k], t[(k + 1) % 3]) for t in triangles.tolist() for k in range(3))
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)


def test_subdivision_keeps_a_flat_grid_flat_and_its_place() -> None:
    x, y = np.meshgrid(np.arange(5.0), np.arange(5.0))
    points = np.stack([x.ravel(), y.ravel(), 2 * x.ravel() - y.ravel()], axis=1)
    k = np.arange(25).reshape(5, 5)
    a, b, c, d = (part.ravel() for part in (k[:-1, :-1], k[:-1, 1:], k[1:, :-1], k[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    mesh = subdivide(triangles, num_control=25, levels=2)
    assert len(mesh.triangles) == 16 * len(triangles)
    fine = mesh.apply(points)
    assert fine[:, 2] == pytest.approx(2 * fine[:, 0] - fine[:, 1], abs=1e-5)
    assert fine[12] == pytest.approx(points[12], abs=1e-5)
    assert np.add.reduceat(mesh.weights, mesh.starts[:-1]) == pytest.approx(1, abs=1e-5)


def test_functions_compile_where_no_cache_can_be_written() -> None:
    # Code without a file has no place for its cache, like a read-only installation.
    namespace: dict = {}
    exec("def double(x):\n    return 2 * x", namespace)
    assert compiled(namespace["double"])(21) == 42
