import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aufleet_models.layers.centres import PALSY_REGIONS, RegionCentres
from aufleet_models.layers.maps import (
    FRAME_SIZE,
    RATIO,
    SLOPE,
    hard_maps,
    soft_maps,
    straight_through_maps,
)

coordinates = st.floats(-500, 700, width=32)


def _pixel(x: float, y: float, *, size: int = 44) -> torch.Tensor:
    """One region with one centre (stored twice) at a pixel of the map."""
    return torch.tensor([x, y]).mul(FRAME_SIZE / size).expand(1, 1, 2, 2)


def _looped(centres: torch.Tensor, *, size: int) -> torch.Tensor:
    """Pixel by pixel, as the definition says."""
    batch, num = centres.shape[:2]
    maps = torch.zeros(batch, num, size, size)
    half = round((size - 1) / 2 * RATIO)
    for b in range(batch):
        for n in range(num):
            for x, y in (centres[b, n] * size / FRAME_SIZE).round().tolist():
                rows, columns = (
                    range(
                        int(min(max(c - half, 0), size - 1)),
                        int(min(max(c + half, 0), size - 1)) + 1,
                    )
                    for c in (y, x)
                )
                for h in rows:
                    for w in columns:
                        value = 1 - (abs(h - y) + abs(w - x)) * SLOPE / (size * RATIO)
                        maps[b, n, h, w] = max(maps[b, n, h, w].item(), value)
    return maps


@pytest.mark.parametrize(
    ("size", "box", "edge", "corner", "total"),
    [(52, 9, 0.6923, 0.3846, 53.308), (44, 7, 0.7273, 0.4545, 33.727)],
)
def test_one_box_is_as_tabulated(size, box, edge, corner, total) -> None:
    drawn = hard_maps(_pixel(20, 25, size=size), size=size)[0, 0]
    assert drawn[25, 20] == 1
    assert (drawn > 0).sum() == box**2
    half = box // 2
    assert drawn[25, 20 + half].item() == pytest.approx(edge, abs=1e-4)
    assert drawn[25 - half, 20 + half].item() == pytest.approx(corner, abs=1e-4)
    assert drawn.sum().item() == pytest.approx(total, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(coordinates, min_size=8, max_size=8), st.sampled_from([44, 52]))
def test_all_maps_at_once_equal_pixel_by_pixel(values, size) -> None:
    centres = torch.tensor(values, dtype=torch.float32).view(1, 2, 2, 2)
    expected = _looped(centres, size=size)
    torch.testing.assert_close(hard_maps(centres, size=size), expected, atol=1e-4, rtol=0)


def test_a_centre_outside_paints_the_nearest_border() -> None:
    drawn = hard_maps(_pixel(-5, 20))[0, 0]
    assert (drawn[17:24, 0] > 0).all()
    assert drawn[:, 1:].sum() == 0


def test_two_centres_are_merged_by_their_maximum() -> None:
    both = torch.stack([_pixel(20, 20)[:, :, 0], _pixel(23, 20)[:, :, 0]], 2)
    apart = [hard_maps(_pixel(x, 20)) for x in (20, 23)]
    torch.testing.assert_close(hard_maps(both), torch.maximum(*apart))


def test_soft_maps_are_near_the_hard_ones() -> None:
    centres, ratios = _pixel(20, 25), torch.full((1, 1), RATIO)
    hard = hard_maps(centres)[0, 0]
    torch.testing.assert_close(hard_maps(centres, ratios=ratios)[0, 0], hard)
    soft = soft_maps(centres, ratios)[0, 0]
    inside = slice(23, 28), slice(18, 23)
    assert (soft - hard)[inside].abs().max() <= 0.004 + 1e-4
    assert (soft - hard).abs().max() <= 0.10
    sharp = soft_maps(centres, ratios, softness=0.1)[0, 0]
    assert (sharp - hard).abs().max() < 0.01


def test_straight_through_maps_are_hard_with_soft_gradients() -> None:
    centres = _pixel(20.3, 25.2).clone().requires_grad_()
    ratios = torch.full((1, 1), 0.12, requires_grad=True)
    through = straight_through_maps(centres, ratios)
    torch.testing.assert_close(through, hard_maps(centres, ratios=ratios), atol=1e-6, rtol=0)
    weights = torch.rand(44, 44)
    gradients = torch.autograd.grad((through * weights).sum(), (centres, ratios))
    soft = torch.autograd.grad((soft_maps(centres, ratios) * weights).sum(), (centres, ratios))
    torch.testing.assert_close(gradients, soft)
    assert gradients[1] != 0


@settings(max_examples=50, deadline=None)
@given(st.lists(coordinates, min_size=98, max_size=98))
def test_any_face_gives_maps_between_0_and_1(values) -> None:
    landmarks = torch.tensor(values, dtype=torch.float32).view(1, 49, 2)
    centres = RegionCentres(PALSY_REGIONS)(landmarks)
    ratios = torch.linspace(0.04, 0.28, 12)[None].requires_grad_()
    for maps in (
        hard_maps(centres),
        soft_maps(centres, ratios),
        straight_through_maps(centres, ratios),
    ):
        assert maps.shape == (1, 12, 44, 44)
        assert maps.isfinite().all()
        assert maps.min() >= -1e-6
        assert maps.max() <= 1 + 1e-6
    (gradient,) = torch.autograd.grad(soft_maps(centres, ratios).sum(), ratios)
    assert gradient.isfinite().all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4),
    st.sampled_from([44, 52]),
    st.integers(-60, 60),
)
def test_centres_that_move_by_whole_map_pixels_move_the_box(values, size, steps) -> None:
    centres = torch.tensor(values).view(1, 1, 2, 2).clamp(70, 110)
    # Where no rounding is near, and no border.
    cells = (centres * size / FRAME_SIZE).floor() + 0.25
    step = max(-10, min(10, steps))
    moved = cells + torch.tensor([float(step), 0.0])
    here, there = (hard_maps(c * FRAME_SIZE / size, size=size) for c in (cells, moved))
    torch.testing.assert_close(there, here.roll(step, dims=-1), atol=1e-5, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4))
def test_maps_and_their_gradients_are_numbers_wherever_centres_lie(values) -> None:
    centres = torch.tensor(values).view(1, 1, 2, 2).requires_grad_()
    ratios = torch.full((1, 1), 0.2, requires_grad=True)
    for draw in (soft_maps, straight_through_maps):
        maps = draw(centres, ratios)
        assert maps.isfinite().all()
        for gradient in torch.autograd.grad(maps.square().sum(), (centres, ratios)):
            assert gradient.isfinite().all()
