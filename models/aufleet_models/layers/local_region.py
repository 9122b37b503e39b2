"""The hierarchical multi-scale region stem that every region network starts with.

Source: JAA-Net (Shao et al.); LGRNet, ALGRNet and MGRR-Net take it over unchanged.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.scaling import scaled

# Maps are kept in channels_last: one thread runs the narrow grouped convolutions of the cells
# 3 to 4 times faster in it than in the default layout, forward and backward.


class LocalRegionConv(nn.Module):
    """BatchNorm, ReLU and a 3x3 convolution with weights of its own for each of g x g cells.

    The zero padding lies at the border of each cell. The cells move to the channel axis, so that
    one batch norm and one grouped convolution serve them all.

    Args:
        grid: Cells per side, g; the sides of the map are divisible by it.
        in_channels: Channels of the map.
        out_channels: Channels of the result, which has the size of the map.
    """

    def __init__(self, grid: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.grid = grid
        cells = grid * grid
        self.norm = nn.BatchNorm2d(cells * in_channels)
        self.conv = nn.Conv2d(cells * in_channels, cells * out_channels, 3, padding=1, groups=cells)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H, W) for (B, in_channels, H, W)."""
        cells = cells_to_channels(x, grid=self.grid)
        cells = self.conv(functional.relu(self.norm(cells), inplace=True))
        return channels_to_cells(cells, grid=self.grid)


def cells_to_channels(x: Tensor, *, grid: int) -> Tensor:
    """Return (B, g*g*C, H/g, W/g) for (B, C, H, W), the cells in row-major order."""
    batch, channels, height, width = x.shape
    cells = x.permute(0, 2, 3, 1).reshape(
        batch, grid, height // grid, grid, width // grid, channels
    )
    cells = cells.permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(batch, height // grid, width // grid, -1).permute(0, 3, 1, 2)


def channels_to_cells(x: Tensor, *, grid: int) -> Tensor:
    """Return (B, C, H, W) for (B, g*g*C, H/g, W/g): the inverse of `cells_to_channels`."""
    batch, channels, height, width = x.shape
    cells = x.permute(0, 2, 3, 1).reshape(batch, height, width, grid, grid, channels // grid**2)
    cells = cells.permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(batch, grid * height, grid * width, -1).permute(0, 3, 1, 2)


class HierarchicalRegion(nn.Module):
    """A convolution refined by local regions of 8x8, 4x4 and 2x2 cells.

    Args:
        in_channels: Channels of the map.
        channels: Channels of the result, divisible by 4.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.fine = LocalRegionConv(8, channels, half)
        self.middle = LocalRegionConv(4, half, quarter)
        self.coarse = LocalRegionConv(2, quarter, quarter)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H, W) for (B, in_channels, H, W)."""
        x = self.conv(x)
        fine = self.fine(x)
        middle = self.middle(fine)
        regions = torch.cat([fine, middle, self.coarse(middle)], dim=1)
        return functional.relu(self.norm(x + regions), inplace=True)


class Stem(nn.Module):
    """Two hierarchical region layers with pooling: 176 px frames to maps of 44 x 44.

    1,615,392 parameters at width 1.0.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        self.out_channels = scaled(64, width)
        self.first = HierarchicalRegion(3, scaled(32, width))
        self.second = HierarchicalRegion(scaled(32, width), self.out_channels)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, C, 44, 44) for frames (B, 3, 176, 176) in [-1, 1]."""
        x = frames.contiguous(memory_format=torch.channels_last)
        x = functional.max_pool2d(self.first(x), 2)
        return functional.max_pool2d(self.second(x), 2)
