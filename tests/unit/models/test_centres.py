import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aufleet.domain.landmarks import MIRROR_49
from aufleet_models.layers.centres import (
    PALSY_REGIONS,
    TOP_TO_BOTTOM,
    UNIT_REGIONS,
    RegionCentres,
    unit_regions,
)

TEMPLATE = {
    1: ((72, 15.5), (103, 15.5)),
    2: ((39, 15.3), (136, 15.3)),
    4: ((51, 42.7), (124, 42.7)),
    6: ((49, 99), (126, 99)),
    7: ((59, 51), (116, 51)),
    9: ((80, 80.5), (95, 80.5)),
    10: ((74, 121), (101, 121)),
    12: ((58, 120), (117, 120)),
    17: ((100, 157.5), (75, 157.5)),
    23: ((87.5, 115), (87.5, 138)),
}
PALSY_TEMPLATE = [
    (51, 15.3), (124, 15.3), (49, 51), (126, 51), (61.75, 88.75), (113.25, 88.75),
    (49, 99), (126, 99), (58, 120), (117, 120), (75, 157.5), (100, 157.5),
]  # fmt: skip


def test_units_lie_where_the_template_says(face) -> None:
    centres = RegionCentres(unit_regions(list(TEMPLATE)))(face)
    expected = torch.tensor(list(TEMPLATE.values()))
    torch.testing.assert_close(centres[0], expected, atol=0.05, rtol=0)


def test_palsy_regions_lie_where_the_template_says(face) -> None:
    centres = RegionCentres(PALSY_REGIONS)(face)[0]
    expected = torch.tensor(PALSY_TEMPLATE)
    torch.testing.assert_close(centres[:, 0], expected, atol=0.05, rtol=0)
    torch.testing.assert_close(centres[:, 0], centres[:, 1])


def test_units_of_the_mouth_share_centres(face) -> None:
    centres = RegionCentres(unit_regions([12, 14, 15, 23, 24, 25, 17, 26]))(face)[0]
    for same in ((0, 1, 2), (3, 4, 5), (6, 7)):
        for other in same[1:]:
            torch.testing.assert_close(centres[same[0]], centres[other])


def test_the_order_runs_down_the_face(face) -> None:
    assert sorted(TOP_TO_BOTTOM) == sorted(UNIT_REGIONS)
    centres = RegionCentres(unit_regions(TOP_TO_BOTTOM))(face)[0, :, :, 1].mean(1)
    # Units 1 and 2, and 10 and 12, lie within a pixel of each other.
    assert (centres.diff() >= -1).all()


def test_moves_mirror_between_the_two_centres(face) -> None:
    centres = RegionCentres(unit_regions([12, 23]))
    still, moved = centres(face), centres(face, torch.full((1, 2, 2), 0.1))
    step = 0.1 * 41
    signs = torch.tensor([[[1.0, 1.0], [-1.0, 1.0]], [[1.0, 1.0], [1.0, -1.0]]])
    torch.testing.assert_close(moved - still, step * signs[None])


def test_single_centres_and_free_moves_go_where_they_are_sent(face) -> None:
    one = RegionCentres(PALSY_REGIONS[:1])
    moves = torch.tensor([[[0.2, -0.1]]])
    torch.testing.assert_close((one(face, moves) - one(face))[0, 0], 41 * moves[0].expand(2, 2))
    two = RegionCentres(unit_regions([12]))
    free = torch.randn(1, 1, 2, 2)
    torch.testing.assert_close(two(face, free) - two(face), 41 * free, atol=1e-4, rtol=1e-4)


def test_no_gradient_reaches_the_landmarks(face) -> None:
    landmarks = face.clone().requires_grad_()
    assert not RegionCentres(PALSY_REGIONS)(landmarks).requires_grad


@given(st.integers(0, 97), st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_a_landmark_that_is_no_number_is_an_error(position: int, value: float) -> None:
    landmarks = torch.rand(3, 49, 2)
    landmarks[1].view(-1)[position] = value
    with pytest.raises(ValueError, match="landmarks of sample 1 hold NaN or infinity"):
        RegionCentres(PALSY_REGIONS)(landmarks)


@settings(deadline=None)
@given(
    st.lists(st.floats(-500, 700, width=32), min_size=98, max_size=98),
    st.floats(0.5, 2, width=32),
    st.floats(-50, 50, width=32),
)
def test_centres_follow_a_face_that_moves_and_grows(values, factor, shift) -> None:
    landmarks = torch.tensor(values, dtype=torch.float64).view(1, 49, 2)
    for regions in (PALSY_REGIONS, unit_regions(TOP_TO_BOTTOM)):
        centres = RegionCentres(regions)
        there = centres(landmarks * factor + shift)
        torch.testing.assert_close(there, centres(landmarks) * factor + shift, atol=0.01, rtol=1e-5)


@settings(deadline=None)
@given(st.lists(st.floats(-500, 700, width=32), min_size=98, max_size=98))
def test_any_face_mirrored_has_mirrored_centres(values) -> None:
    landmarks = torch.tensor(values).view(1, 49, 2)
    mirrored = landmarks[:, MIRROR_49.tolist()]
    mirrored = torch.stack([175 - mirrored[..., 0], mirrored[..., 1]], -1)

    def across(centres: torch.Tensor) -> torch.Tensor:
        return torch.stack([175 - centres[..., 0], centres[..., 1]], -1)

    palsy = RegionCentres(PALSY_REGIONS)
    partner = [number ^ 1 for number in range(12)]
    torch.testing.assert_close(
        palsy(mirrored), across(palsy(landmarks))[:, partner], atol=0.01, rtol=1e-5
    )
    # A unit's two centres change places, but those in the middle of the lips.
    units = RegionCentres(unit_regions([1, 2, 4, 6, 7, 9, 10, 12, 17]))
    torch.testing.assert_close(
        units(mirrored), across(units(landmarks)).flip(2), atol=0.01, rtol=1e-5
    )
    lips = RegionCentres(unit_regions([23]))
    torch.testing.assert_close(lips(mirrored), across(lips(landmarks)), atol=0.01, rtol=1e-5)


def test_any_list_of_units_is_a_selection_of_all(face) -> None:
    disfa = [1, 2, 4, 6, 9, 12, 25, 26]
    every = RegionCentres(unit_regions(TOP_TO_BOTTOM))(face)
    chosen = [TOP_TO_BOTTOM.index(unit) for unit in disfa]
    torch.testing.assert_close(RegionCentres(unit_regions(disfa))(face), every[:, chosen])
