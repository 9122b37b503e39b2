import numpy as np
import pytest

from aufleet.domain import landmarks

TEMPLATE = np.array(
    """41 46 51 41 63 41 73 44 84 48 115 48 126 44 136 41 148 41 158 46 99.5 60 99.5 75 99.5 90
    99.5 105 84 111 92 113 99.5 114 107 113 115 111 52 65 61 63 71 63 79 67 70 70 61 70 120 67
    128 63 138 63 147 65 138 70 129 70 70 132 79 128 89 125 99.5 127 110 125 120 128 129 132
    122 142 112 149 99.5 150 87 149 77 142 86 133 99.5 134 113 133 114 137 99.5 138 85 137
    """.split(),
    dtype=float,
).reshape(49, 2)


@pytest.mark.parametrize("order", [landmarks.MIRROR_49, landmarks.MIRROR_68], ids=["49", "68"])
def test_mirroring_twice_changes_nothing(order: np.ndarray) -> None:
    assert sorted(order) == list(range(len(order)))
    np.testing.assert_array_equal(order[order], np.arange(len(order)))


def test_the_symmetric_template_is_its_own_mirror_image() -> None:
    np.testing.assert_allclose(landmarks.mirror(TEMPLATE, width=200), TEMPLATE)


def test_the_two_mirrors_agree_on_the_points_they_share() -> None:
    of_68 = landmarks.POINTS_49_OF_68
    np.testing.assert_array_equal(landmarks.MIRROR_68[of_68], of_68[landmarks.MIRROR_49])


def test_inter_ocular_distance_is_between_eye_centres() -> None:
    assert landmarks.inter_ocular_distance(TEMPLATE) ** 2 == pytest.approx(4578.78, abs=0.01)
    many = np.stack([TEMPLATE, 2 * TEMPLATE])
    ratio = np.divide(*landmarks.inter_ocular_distance(many)[::-1])
    assert ratio == pytest.approx(2.0)
