import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aufleet.data.alignment import (
    align,
    alignment_of,
    apply_affine,
    centre_crop,
    to_input,
    undo_affine,
)
from aufleet.domain.landmarks import MIRROR_49, eye_centres, mirror
from aufleet.errors import FaceError

GREY_PHOTO = np.full((480, 640, 3), 90, dtype=np.uint8)


def five_points(points: np.ndarray) -> np.ndarray:
    return np.stack([*eye_centres(points), points[13], points[31], points[37]])


@settings(max_examples=200, deadline=None)
@given(
    angle=st.floats(-np.pi, np.pi),
    scale=st.floats(0.2, 12),
    shift=st.tuples(st.floats(-500, 3000), st.floats(-500, 3000)),
)
def test_any_turned_scaled_or_moved_face_ends_at_the_same_place(
    template, angle, scale, shift
) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    photo_points = scale * template.astype(np.float64) @ turn.T + shift

    affine = alignment_of(photo_points)
    aligned = apply_affine(affine, photo_points)

    box = five_points(aligned)
    low, high = box.min(axis=0), box.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 99.5, atol=1e-6)
    assert (high - low).max() == pytest.approx(199 / 2.9, abs=1e-6)
    left, right = eye_centres(aligned)
    assert left[1] == pytest.approx(right[1], abs=1e-6)
    assert left[0] < right[0]
    # Aligning what is aligned moves nothing.
    np.testing.assert_allclose(alignment_of(aligned), [[1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_where_the_eyes_are_further_apart_than_the_face_is_long_their_distance_is_fixed(
    template,
) -> None:
    flat = template * np.float32([1, 0.9])

    left, right = eye_centres(apply_affine(alignment_of(flat), flat))

    assert np.sum((right - left) ** 2) == pytest.approx(4708.8, abs=0.1)


def test_landmarks_come_back_to_the_photo(template) -> None:
    points = template * 1.7 + np.float32([120, 40])

    face = align(GREY_PHOTO, points)

    assert face.frame.shape == (200, 200, 3)
    assert face.frame.dtype == np.uint8
    np.testing.assert_allclose(face.to_frame(face.landmarks), points, atol=1e-3)


def test_pixels_move_with_their_landmarks(template) -> None:
    photo = np.zeros((480, 640, 3), dtype=np.uint8)
    points = template * 1.5 + np.float32([150, 60])
    x, y = points[13].round().astype(int)
    photo[y - 3 : y + 4, x - 3 : x + 4] = 255

    face = align(photo, points)

    rows, columns = np.nonzero(face.frame[..., 0] > 128)
    np.testing.assert_allclose([columns.mean(), rows.mean()], face.landmarks[13], atol=1)


def test_beyond_the_photo_is_grey(template) -> None:
    face = align(np.zeros((220, 220, 3), dtype=np.uint8), template + np.float32([-70, 0]))

    assert (face.frame[100, 5] == 128).all()
    assert (face.frame[100, 150] == 0).all()


def broken(points: np.ndarray, kind: str) -> np.ndarray:
    broken = points.astype(np.float64)
    if kind == "nan":
        broken[20, 1] = np.nan
    elif kind == "infinite":
        broken[44, 0] = np.inf
    elif kind == "all one point":
        broken[:] = 50
    elif kind == "few":
        broken = broken[:48]
    elif kind == "tiny":
        broken = broken * 0.02 + 100
    elif kind == "outside":
        broken += 900
    elif kind == "far away":
        broken[30, 0] = 1e9
    elif kind == "mirrored order":
        broken = broken[MIRROR_49]
    return broken


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("nan", "not finite"),
        ("infinite", "not finite"),
        ("all one point", "eyes 0.0 pixels apart"),
        ("few", "49 points needed"),
        ("tiny", "eyes 1.4 pixels apart"),
        ("outside", "outside its 640x480 frame"),
        ("far away", r"landmarks 1e\+09 pixels away"),
        ("mirrored order", "mouth above its eyes"),
    ],
)
def test_a_face_that_cannot_be_aligned_is_an_error_never_a_grey_frame(
    template, kind, complaint
) -> None:
    with pytest.raises(FaceError, match=complaint):
        align(GREY_PHOTO, broken(template, kind))


def test_a_mirrored_photo_aligns_to_the_mirrored_frame(template) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    points = template + np.random.default_rng(1).normal(0, 2, (49, 2)).astype(np.float32) + 50

    straight = align(photo, points)
    mirrored = align(np.ascontiguousarray(photo[:, ::-1]), mirror(points, width=300))

    np.testing.assert_allclose(mirrored.landmarks, mirror(straight.landmarks, width=200), atol=1e-3)


def test_the_centre_crop_and_the_input_range() -> None:
    frames = np.zeros((2, 200, 200, 3), dtype=np.uint8)
    frames[:, 12:188, 12:188] = [0, 51, 255]

    network_input = to_input(centre_crop(frames))

    assert network_input.shape == (2, 3, 176, 176)
    assert network_input.dtype == np.float32
    assert network_input.flags.c_contiguous
    for channel, value in enumerate((-1, -0.6, 1)):
        np.testing.assert_allclose(network_input[:, channel], value, atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(), min_size=98, max_size=98),
    st.sampled_from([None, 1e3, 1e6]),
)
def test_any_landmarks_align_to_finite_points_or_are_an_error(values, limit) -> None:
    points = np.array(values).reshape(49, 2)
    if limit is not None:
        points = np.clip(points, -limit, limit)
    try:
        affine = alignment_of(points)
    except FaceError:
        return
    assert np.isfinite(points).all()
    assert np.isfinite(affine).all()
    # Also far outside the crop: finite, and the way back leads home.
    aligned = apply_affine(affine, points)
    assert np.isfinite(aligned).all()
    far = np.abs(points).max()
    np.testing.assert_allclose(undo_affine(affine, aligned), points, atol=1e-6 * max(1, far))


@settings(max_examples=100, deadline=None)
@given(
    position=st.integers(0, 97),
    value=st.floats(allow_nan=False, allow_infinity=False, min_value=-1e5, max_value=1e5),
)
def test_one_landmark_far_outside_is_an_error_or_leaves_the_five_points_in_place(
    template, position, value
) -> None:
    points = template.astype(np.float64) + 50
    points.ravel()[position] = value
    try:
        face = align(GREY_PHOTO, points)
    except FaceError:
        return
    assert np.isfinite(face.landmarks).all()
    box = five_points(face.landmarks.astype(np.float64))
    low, high = box.min(axis=0), box.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 99.5, atol=0.05)
    assert (high - low).max() == pytest.approx(199 / 2.9, abs=0.05)


@given(
    position=st.integers(0, 97),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_one_landmark_that_is_no_number_is_an_error(template, position, value) -> None:
    points = template.astype(np.float64)
    points.ravel()[position] = value
    with pytest.raises(FaceError, match="not finite"):
        alignment_of(points)
