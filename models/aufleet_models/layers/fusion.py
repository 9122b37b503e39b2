"""Fusion of each region with the global feature, the first half of LGRNet's fusion & refining."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.branches import BranchLinear

GlobalSource = Literal["pooled", "unpooled", "stem"]
MAP_SIZE = 44
EPS = 1e-12


class GlobalFusion(nn.Module):
    """r = a * norm(C_g G) + (1 - a) * norm(C_l s) with a = sigmoid(C'_g G + C'_l s), per region.

    C are 1x1 convolutions; norm divides by the length over the channels of each pixel, an axis
    that the papers leave open. 28,928 parameters per region with 64 and 160 channels.

    Args:
        num_regions: n.
        channels: Channels C of the regions.
        global_channels: Channels of the global feature.
        global_size: Side of the global feature; 5, or 44 where it is not pooled.
        map_pad: Zero padding of the 1x1 convolutions: 0, or 1 as the papers print.
    """

    resize: Tensor | None

    def __init__(
        self,
        num_regions: int,
        channels: int,
        *,
        global_channels: int,
        global_size: int = 5,
        map_pad: int = 0,
    ) -> None:
        super().__init__()
        self.map_pad = map_pad
        resize = None
        if global_size != MAP_SIZE:
            resize = _resize_matrix(global_size, map_pad=map_pad)
        self.register_buffer("resize", resize, persistent=False)
        self.global_gate = BranchLinear(num_regions, global_channels, channels)
        self.global_value = BranchLinear(num_regions, global_channels, channels)
        self.local_gate = BranchLinear(num_regions, channels, channels)
        self.local_value = BranchLinear(num_regions, channels, channels)

    def forward(self, regions: Tensor, context: Tensor) -> Tensor:
        """Return (n, B, C, 44, 44), or 46 px with padding.

        Args:
            regions: (n, B, C, 44, 44).
            context: (B, 160, 5, 5), or a global feature of 44 px.
        """
        num, batch, channels, size, _ = regions.shape
        border = 4 * (self.map_pad,)
        if self.map_pad:
            regions = functional.pad(regions, border)
            context = functional.pad(context, border) if self.resize is None else context
        side = size + 2 * self.map_pad
        local = regions.permute(0, 1, 3, 4, 2).reshape(num, -1, channels)
        gate = self._spread(self.global_gate, context) + self.local_gate(local)
        ours = functional.normalize(self._spread(self.global_value, context), dim=-1, eps=EPS)
        own = functional.normalize(self.local_value(local), dim=-1, eps=EPS)
        fused = torch.lerp(own, ours, torch.sigmoid(gate))
        return fused.view(num, batch, side, side, channels).permute(0, 1, 4, 2, 3)

    def _spread(self, conv: BranchLinear, context: Tensor) -> Tensor:
        """Return (n, B*side*side, C): the 1x1 convolution of the global feature, at full size.

        It is taken before the bilinear resizing, which gives the same numbers: both are linear,
        and one does not mix pixels, the other not channels.
        """
        rows = context.permute(0, 2, 3, 1).flatten(0, 2).expand(conv.num_branches, -1, -1)
        return conv(rows, mix=self.resize)


def _resize_matrix(size: int, *, map_pad: int) -> Tensor:
    """Return (pixels after, size*size): bilinear resizing to 44 px, then a border of zeros."""
    unit = torch.eye(size * size).unflatten(1, (1, size, size))
    large = functional.interpolate(unit, size=MAP_SIZE, mode="bilinear", align_corners=False)
    return functional.pad(large, 4 * (map_pad,)).flatten(1).t().contiguous()
