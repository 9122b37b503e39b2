"""Adaptive region learning: ALGRNet moves and resizes each region by what the face looks like."""

from typing import Literal

import torch
from torch import Tensor, nn

from aufleet_models.layers.maps import MAX_RATIO
from aufleet_models.layers.scaling import scaled

Offsets = Literal["mirrored", "free"]
MAX_MOVE = 0.5
"""Largest shift in units of the distance between the inner eye corners."""
MIN_RATIO = 0.04


class AdaptiveRegions(nn.Module):
    """Two small nets that read the alignment feature: shifts and sizes of n regions.

    Both answer "no shift, ratio 0.14" at first. The papers print 2n offsets for 2n centres; the
    mirrored rule makes sense of it, and "free" has 4n. 4,115,492 parameters for 12 regions.
    """

    def __init__(
        self, num_regions: int, num_features: int, *, offsets: Offsets, width: float = 1.0
    ) -> None:
        super().__init__()
        self.shape = (num_regions, 2) if offsets == "mirrored" else (num_regions, 2, 2)
        hidden = scaled(512, width)
        self.offset = _net(num_features, hidden, torch.Size(self.shape).numel())
        self.scale = _net(num_features, hidden, num_regions)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return shifts (B, n, 2) or (B, n, 2, 2) and box ratios (B, n), in fp32.

        Args:
            feature: (B, 160, 5, 5) of the alignment net.
        """
        flat = feature.flatten(1)
        moves = MAX_MOVE * torch.tanh(self.offset(flat).float()).unflatten(1, self.shape)
        ratios = MAX_RATIO * torch.sigmoid(self.scale(flat).float())
        return moves, ratios.clamp_min(MIN_RATIO)


def _net(num_features: int, hidden: int, num_outputs: int) -> nn.Sequential:
    last = nn.Linear(hidden, num_outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(num_features, hidden), nn.ReLU(), last)
