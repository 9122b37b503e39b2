import pytest
import torch
from torch.nn import functional

from aufleet_models import build_model
from aufleet_models.layers.fusion import GlobalFusion


def _literal(fusion: GlobalFusion, regions, context, region: int) -> torch.Tensor:
    """One region as printed: resize first, then 1x1 convolutions with their padding."""

    def conv(x, layer):
        kernel = layer.weight[region].t()[..., None, None]
        return functional.conv2d(x, kernel, layer.bias[region, 0], padding=fusion.map_pad)

    large = functional.interpolate(context, size=44, mode="bilinear", align_corners=False)
    own = regions[region]
    gate = torch.sigmoid(conv(large, fusion.global_gate) + conv(own, fusion.local_gate))
    ours = functional.normalize(conv(large, fusion.global_value), dim=1, eps=1e-12)
    mine = functional.normalize(conv(own, fusion.local_value), dim=1, eps=1e-12)
    return gate * ours + (1 - gate) * mine


@pytest.mark.parametrize("map_pad", [0, 1])
@pytest.mark.parametrize("size", [5, 44])
@torch.no_grad()
def test_fusion_before_resizing_equals_fusion_after_it(map_pad: int, size: int) -> None:
    torch.manual_seed(0)
    fusion = GlobalFusion(2, 4, global_channels=6, global_size=size, map_pad=map_pad)
    regions, context = torch.randn(2, 3, 4, 44, 44), torch.randn(3, 6, size, size)
    expected = torch.stack([_literal(fusion, regions, context, region) for region in (0, 1)])
    torch.testing.assert_close(fusion(regions, context), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"map_pad": 1},
        {"global_source": "unpooled"},
        {"global_source": "stem", "map_pad": 1},
        {"fusion": False, "skip_bilstm": "none"},
        {"offsets": "free", "skip_gate": "scalar", "integrated_global": True},
    ],
)
@torch.no_grad()
def test_every_reading_of_the_papers_ends_at_160_by_5_by_5(options: dict) -> None:
    model = build_model("algrnet", task="au", units=[1, 12], width=0.0625, **options)
    seen = model.describe(torch.randn(2, 3, 176, 176))
    assert seen.regions.shape == (2, 2, model.alignment.out_channels, 5, 5)
