import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aufleet.data.alignment import alignment_of, apply_affine
from aufleet.data.crop_240 import crop_240_affine, cut_crop_240, points_of_crop_240
from aufleet.domain.landmarks import eye_centres
from aufleet.errors import FaceError


@settings(max_examples=100, deadline=None)
@given(
    angle=st.floats(-3, 3),
    scale=st.floats(0.2, 12),
    shift=st.tuples(st.floats(-500, 3000), st.floats(-500, 3000)),
)
def test_aligned_landmarks_tell_the_geometry_of_the_crop(template, angle, scale, shift) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    photo_points = scale * template.astype(np.float64) @ turn.T + shift

    from_photo = apply_affine(crop_240_affine(photo_points), photo_points)
    aligned = apply_affine(alignment_of(photo_points), photo_points).astype(np.float32)

    np.testing.assert_allclose(points_of_crop_240(aligned, aligned), from_photo, atol=1e-2)
    left, right = eye_centres(from_photo)
    np.testing.assert_allclose([left, right], [[84.5, 79.5], [154.5, 79.5]], atol=1e-6)


def test_many_frames_are_moved_at_once(template) -> None:
    landmarks = np.stack([template, template * 1.2 + 3, template[:, ::1] - 9])
    points = np.stack([shape[:5] for shape in landmarks])

    together = points_of_crop_240(landmarks, points)

    assert (together.shape, together.dtype) == ((3, 5, 2), np.float32)
    for row in range(3):
        alone = points_of_crop_240(landmarks[row], points[row])
        np.testing.assert_allclose(together[row], alone, atol=1e-4)


def test_an_outline_without_extent_is_refused(template) -> None:
    frame = np.zeros((200, 200, 3), dtype=np.uint8)

    with pytest.raises(FaceError, match="without extent"):
        cut_crop_240(frame, landmarks=template, outline=np.full((27, 2), np.nan))
