import builtins
import io

import numpy as np
import pytest
from scipy.io import savemat

from aufleet.data.importers.bp4d_landmarks import find_landmark_files, parse_landmarks
from aufleet.data.importers.source import open_source
from aufleet.errors import DataError, EnvironmentProblem

SHAPE = np.arange(98, dtype=np.float64).reshape(49, 2) + 50


def test_files_of_both_releases_are_found(local_store) -> None:
    for key in ("2DFeatures/F001_T1.mat", "BP4D-fpoints/M002_T8.mat", "2DFeatures/readme.txt"):
        local_store.write(key, b"")

    assert find_landmark_files(open_source(local_store.uri)) == {
        ("F001", "T1"): "2DFeatures/F001_T1.mat",
        ("M002", "T8"): "BP4D-fpoints/M002_T8.mat",
    }


@pytest.mark.parametrize("field", ["pred", "pts_2d"])
def test_points_count_from_zero_and_lost_frames_are_not_numbers(field) -> None:
    fit = np.empty(3, dtype=[(field, object)])
    fit[0], fit[1], fit[2] = (SHAPE,), (np.zeros((0, 0)),), (SHAPE.T + 1,)
    content = io.BytesIO()
    savemat(content, {"fit": fit.reshape(1, -1)})

    tracks = parse_landmarks(content.getvalue(), where="F001_T1.mat")

    np.testing.assert_array_equal(tracks[0], SHAPE - 1)
    assert np.isnan(tracks[1]).all()
    np.testing.assert_array_equal(tracks[2], SHAPE)


def test_a_file_of_matlab_7_3_says_the_same(tmp_path) -> None:
    h5py = pytest.importorskip("h5py", reason="only BP4D's landmarks need it")

    data = _matlab_7_3(h5py, tmp_path / "F001_T1.mat")

    tracks = parse_landmarks(data, where="F001_T1.mat")
    np.testing.assert_array_equal(tracks[0], SHAPE - 1)
    assert np.isnan(tracks[1]).all()


def test_without_h5py_such_a_file_is_an_error_that_names_the_way_out(monkeypatch) -> None:
    load = builtins.__import__

    def without_h5py(name: str, *rest: object) -> object:
        if name == "h5py":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_h5py)

    with pytest.raises(EnvironmentProblem, match=r"T1\.mat is a MATLAB 7\.3 file and h5py is not"):
        parse_landmarks(b"MATLAB 7.3 MAT-file", where="F001_T1.mat")


@pytest.mark.parametrize("content", [b"", b"text", {"pts": SHAPE}, {"fit": SHAPE}])
def test_another_file_is_named(content) -> None:
    if isinstance(content, dict):
        file = io.BytesIO()
        savemat(file, content)
        content = file.getvalue()

    with pytest.raises(DataError, match=r"landmarks in T1\.mat cannot be read .* set landmarks="):
        parse_landmarks(content, where="T1.mat")


def _matlab_7_3(h5py, path) -> bytes:
    """Return two frames, points along the second axis as MATLAB writes them, one lost."""
    with h5py.File(path, "w", userblock_size=512) as file:
        first = file.create_dataset("#refs#/a", data=SHAPE.T)
        lost = file.create_dataset("#refs#/b", data=np.zeros(2, dtype=np.uint64))
        references = np.array([[first.ref], [lost.ref]], dtype=h5py.ref_dtype)
        file.create_dataset("fit/pred", data=references, dtype=h5py.ref_dtype)
    data = bytearray(path.read_bytes())
    data[:20] = b"MATLAB 7.3 MAT-file "
    return bytes(data)
