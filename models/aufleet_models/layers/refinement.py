"""JAA-Net's attention refinement: each unit's map is redrawn by four small convolutions."""

import torch
from torch import Tensor, nn

from aufleet_models.layers.high_level import BranchConv, ConvNorm, faster_looped
from aufleet_models.layers.scaling import scaled

MARGIN = 8
"""Four unpadded 3x3 convolutions take so many pixels off each axis."""


class AttentionRefinement(nn.Module):
    """Four unpadded convolutions per unit, the last with a sigmoid: 52 px to 44 px.

    75,457 parameters per unit at width 1.0.
    """

    def __init__(self, num_units: int, *, width: float = 1.0) -> None:
        super().__init__()
        self.channels = scaled(64, width)
        inputs = (1, self.channels, self.channels)
        self.layers = nn.ModuleList(
            ConvNorm(channels, self.channels, num_branches=num_units, padding=0)
            for channels in inputs
        )
        self.last = BranchConv(num_units * self.channels, num_units, 3, groups=num_units)

    def forward(self, maps: Tensor, centres: Tensor | None = None) -> Tensor:
        """Return maps (B, n, S - 8, S - 8) in (0, 1) for maps (B, n, S, S).

        Args:
            maps: (B, n, S, S) initial maps.
            centres: Where they lie; only the folded layer makes use of it.
        """
        maps = maps.contiguous(memory_format=torch.channels_last)
        if faster_looped(maps, channels=self.channels):
            branches = list(maps.split(1, dim=1))
            for layer in self.layers:
                branches = layer.each(branches)  # pyright: ignore[reportCallIssue]
            return torch.cat(self.last(branches), 1).float().sigmoid()
        for layer in self.layers:
            maps = layer(maps)
        return self.last(maps).float().sigmoid()
