import pytest
import torch
from torch import nn

from aufleet_models.layers.local_region import (
    LocalRegionConv,
    Stem,
    cells_to_channels,
    channels_to_cells,
)


def _looped(layer: LocalRegionConv, x: torch.Tensor, *, training: bool):
    """One batch norm and one convolution per cell, as the definition says."""
    g, (_, channels, height, width) = layer.grid, x.shape
    h, w = height // g, width // g
    outputs = layer.conv.out_channels // g**2
    rows, statistics = [], []
    for i in range(g):
        row = []
        for j in range(g):
            cell = i * g + j
            norm, conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, outputs, 3, padding=1)
            part = slice(cell * channels, (cell + 1) * channels)
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(norm, name).data.copy_(getattr(layer.norm, name).data[part])
            part = slice(cell * outputs, (cell + 1) * outputs)
            conv.weight.data.copy_(layer.conv.weight.data[part])
            conv.bias.data.copy_(layer.conv.bias.data[part])
            norm.train(training)
            row.append(conv(norm(x[..., i * h : (i + 1) * h, j * w : (j + 1) * w]).relu()))
            statistics.append(torch.stack([norm.running_mean, norm.running_var]))
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2), torch.cat(statistics, 1)


@pytest.mark.parametrize("grid", [2, 4, 8])
@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_all_cells_at_once_equal_one_after_the_other(grid: int, training: bool) -> None:
    torch.manual_seed(0)
    layer = LocalRegionConv(grid, 4, 2).train(training)
    layer.norm.weight.uniform_(0.5, 1.5)
    layer.norm.bias.uniform_(-1, 1)
    layer.norm.running_mean.uniform_(-1, 1)
    layer.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(3, 4, 16, 24)
    expected, statistics = _looped(layer, x, training=training)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    kept = torch.stack([layer.norm.running_mean, layer.norm.running_var])
    torch.testing.assert_close(kept, statistics)


def test_cells_come_back_to_their_place() -> None:
    x = torch.randn(2, 3, 8, 12)
    cells = cells_to_channels(x, grid=4)
    assert cells.shape == (2, 48, 2, 3)
    torch.testing.assert_close(cells[:, 3:6], x[:, :, :2, 3:6])
    torch.testing.assert_close(channels_to_cells(cells, grid=4), x)


def test_the_stem_ends_at_44_pixels() -> None:
    stem = Stem(width=0.0625)
    assert stem(torch.randn(2, 3, 176, 176)).shape == (2, stem.out_channels, 44, 44)


def test_parts_of_the_stem_have_their_published_sizes() -> None:
    stem = Stem()
    sizes = {
        name: [sum(p.numel() for p in part.parameters()) for part in layer.children()]
        for name, layer in (("first", stem.first), ("second", stem.second))
    }
    assert sizes == {
        "first": [896, 300_032, 19_072, 2_400, 64],
        "second": [18_496, 1_189_888, 75_008, 9_408, 128],
    }
    assert sum(p.numel() for p in stem.parameters()) == 1_615_392
