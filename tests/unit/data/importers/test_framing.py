import cv2
import numpy as np
import pytest
from raw_trees.faces import nobody, photo

from aufleet.data.alignment import align
from aufleet.data.crop_240 import points_of_crop_240
from aufleet.data.importers.framing import (
    Framed,
    Labels,
    Place,
    encode_jpeg,
    frame_photo,
    frame_picture,
    lost,
    record_of,
)
from aufleet.data.importers.reasons import Reason
from aufleet.domain.landmarks import POINTS_49_OF_68, eye_centres

FACE = photo(0, step=15)
OF_66 = [point for point in range(68) if point not in (60, 64)]


@pytest.mark.parametrize(
    ("released", "has_68"),
    [(FACE.landmarks, False), (FACE.landmarks_68[OF_66], False), (FACE.landmarks_68, True)],
)
def test_points_of_the_release_are_aligned_exactly(released, has_68) -> None:
    framed = frame_photo(FACE.pixels, released=released.astype(np.float64), crop="none")

    expected = align(FACE.pixels, FACE.landmarks)
    assert isinstance(framed, Framed)
    assert framed.landmark_source == "release"
    np.testing.assert_allclose(framed.landmarks, expected.landmarks, atol=1e-3)
    pixels = cv2.imdecode(np.frombuffer(framed.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(pixels.astype(int) - expected.frame).mean() < 2
    assert (framed.landmarks_68 is not None) is has_68
    if has_68:
        np.testing.assert_array_equal(framed.landmarks_68[POINTS_49_OF_68], framed.landmarks)
    assert framed.crop_240 is None


@pytest.mark.parametrize(
    "released",
    [None, np.zeros((49, 2)), np.full((66, 2), np.nan), np.ones((50, 2)), np.empty((0, 2))],
)
def test_without_points_of_the_release_mediapipe_looks(released) -> None:
    framed = frame_photo(FACE.pixels, released=released, crop="none")

    assert isinstance(framed, Framed)
    assert framed.landmark_source == "mediapipe"
    np.testing.assert_array_equal(framed.landmarks_68[POINTS_49_OF_68], framed.landmarks)
    error = framed.landmarks - align(FACE.pixels, FACE.landmarks).landmarks
    assert np.linalg.norm(error, axis=1).mean() < 5


@pytest.mark.parametrize(
    ("released", "reason"),
    [
        (None, Reason.NO_FACE),
        (np.ones((49, 2)), Reason.NO_FACE_SHAPE),
        (FACE.landmarks + 900.0, Reason.OUTSIDE),
        (FACE.landmarks * 1e9, Reason.NO_FACE_SHAPE),
    ],
)
def test_a_photo_that_cannot_be_aligned_says_why(released, reason) -> None:
    assert frame_photo(nobody().pixels, released=released, crop="none") is reason


@pytest.mark.parametrize(
    "data", [b"", b"text", FACE.jpeg[:300], FACE.jpeg[: len(FACE.jpeg) // 2], FACE.jpeg[:-2]]
)
def test_a_picture_that_is_not_whole_cannot_be_used(data) -> None:
    assert frame_picture(data, released=None, crop="none") is Reason.UNREADABLE


def test_bytes_behind_the_end_of_a_picture_do_no_harm() -> None:
    data = FACE.jpeg + bytes(300)

    assert isinstance(frame_picture(data, released=FACE.landmarks, crop="none"), Framed)


@pytest.mark.parametrize("released", [FACE.landmarks_68, FACE.landmarks, None])
def test_the_crop_holds_the_face_alone_where_its_landmarks_say(released) -> None:
    framed = frame_photo(FACE.pixels, released=released, crop="lpnet")

    assert isinstance(framed, Framed)
    crop = cv2.imdecode(np.frombuffer(framed.crop_240, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert crop.shape == (240, 240, 3)
    points = points_of_crop_240(framed.landmarks, framed.landmarks)
    np.testing.assert_allclose(eye_centres(points), [[84.5, 79.5], [154.5, 79.5]], atol=1e-3)
    for corner in (crop[:8, :8], crop[:8, -8:], crop[-8:, :8], crop[-8:, -8:]):
        assert corner.max() < 12
    for x, y in points.round().astype(int):
        assert crop[y, x].max() > 12


def test_the_pixels_of_the_crop_move_with_its_landmarks() -> None:
    pixels = FACE.pixels.copy()
    x, y = FACE.landmarks[16].round().astype(int)
    pixels[y - 3 : y + 4, x - 3 : x + 4] = (0, 255, 0)

    framed = frame_photo(pixels, released=FACE.landmarks_68, crop="lpnet")

    crop = cv2.imdecode(np.frombuffer(framed.crop_240, np.uint8), cv2.IMREAD_COLOR_RGB)
    green = crop[..., 1].astype(int) - crop[..., 0] > 120
    rows, columns = np.nonzero(green)
    expected = points_of_crop_240(framed.landmarks, framed.landmarks)[16]
    np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=1)


def test_a_crop_without_a_face_to_mask_cannot_be_cut() -> None:
    framed = frame_photo(nobody().pixels, released=FACE.landmarks, crop="lpnet")

    assert framed is Reason.NO_FACE


def test_records_carry_labels_and_reasons_their_place() -> None:
    place = Place(subject="P1", sequence="smile", frame=7)
    framed = frame_photo(FACE.pixels, released=FACE.landmarks, crop="none")

    record = record_of(framed, place, labels=Labels(house_brackmann=5, side="left"))

    assert (record.where, record.grade, record.side) == ("P1/smile frame 7", 3, "left")
    unusable = record_of(Reason.NO_FACE, place, labels=Labels())
    assert unusable == lost(Reason.NO_FACE, subject="P1", sequence="smile", frame=7)
    assert type(unusable.reason) is str
    assert Labels(units=(9, 9)).is_blank
    assert not Labels(units=(9, 0)).is_blank
    assert not Labels(house_brackmann=1).is_blank


def test_the_same_pixels_give_the_same_bytes() -> None:
    assert encode_jpeg(FACE.pixels) == encode_jpeg(FACE.pixels.copy())
