import torch

from aufleet_models import build_model
from aufleet_models.layers.adaptive import MAX_MOVE, AdaptiveRegions


def test_at_first_nothing_moves() -> None:
    moves, ratios = AdaptiveRegions(5, 100, offsets="mirrored")(torch.randn(2, 4, 5, 5))
    torch.testing.assert_close(moves, torch.zeros(2, 5, 2))
    torch.testing.assert_close(ratios, torch.full((2, 5), 0.14))


def test_shifts_and_sizes_stay_in_their_range() -> None:
    adaptive = AdaptiveRegions(5, 100, offsets="free")
    for parameter in adaptive.parameters():
        torch.nn.init.normal_(parameter, std=5)
    moves, ratios = adaptive(torch.randn(8, 4, 5, 5))
    assert moves.shape == (8, 5, 2, 2)
    assert moves.abs().max() <= MAX_MOVE
    assert ratios.min() >= 0.04
    assert ratios.max() <= 0.28


def _pair():
    """ALGRNet and the same without adaptive regions, with equal weights."""
    torch.manual_seed(0)
    options = {"task": "au", "units": (1, 12, 25), "width": 0.0625}
    adaptive = build_model("algrnet", map_edges="straight_through", **options)
    fixed = build_model("algrnet", adaptive=False, **options)
    fixed.load_state_dict(
        {name: value for name, value in adaptive.state_dict().items() if "adaptive." not in name}
    )
    return adaptive.eval(), fixed.eval()


@torch.no_grad()
def test_an_untrained_network_equals_the_one_without_adaptive_regions() -> None:
    adaptive, fixed = _pair()
    frames = torch.randn(2, 3, 176, 176)
    torch.testing.assert_close(
        adaptive(frames).probabilities, fixed(frames).probabilities, atol=1e-5, rtol=0
    )


def test_units_teach_both_nets_and_not_the_landmarks() -> None:
    adaptive, _ = _pair()
    prediction = adaptive(torch.randn(2, 3, 176, 176))
    prediction.logits.sum().backward()
    for net in (adaptive.adaptive.offset, adaptive.adaptive.scale):
        assert net[-1].weight.grad.abs().sum() > 0
    assert adaptive.alignment.points.weight.grad is None
