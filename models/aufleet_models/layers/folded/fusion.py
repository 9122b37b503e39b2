"""Fusion of regions with the whole face, region by region."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.fusion import EPS, GlobalFusion


class FoldedFusion(nn.Module):
    """A `GlobalFusion` that keeps one region in the cache from its first product to its last.

    Gate and value come from one product, and what is added is added in place: in MGRR-Net with 8
    faces the passes over all regions took as long as half of its convolutions.
    """

    resize: Tensor | None

    def __init__(self, fusion: GlobalFusion) -> None:
        super().__init__()
        self.map_pad = fusion.map_pad
        self.register_buffer("resize", fusion.resize, persistent=False)
        gate, value = fusion.global_gate, fusion.global_value
        self.face_weight = _joined(gate.weight, value.weight)
        self.face_bias = _joined(gate.bias + fusion.local_gate.bias, value.bias)
        self.region_weight = _joined(fusion.local_gate.weight, fusion.local_value.weight)
        self.region_bias = nn.Parameter(fusion.local_value.bias.clone())

    def forward(self, regions: Tensor, context: Tensor) -> Tensor:
        """Return (n, B, C, 44, 44), or 46 px with padding.

        Args:
            regions: (n, B, C, 44, 44).
            context: (B, 160, 5, 5), or a global feature of 44 px.
        """
        border = 4 * (self.map_pad,)
        if self.map_pad:
            regions = functional.pad(regions, border)
            context = functional.pad(context, border) if self.resize is None else context
        pixels = regions.permute(0, 1, 3, 4, 2)
        face = context.permute(0, 2, 3, 1).flatten(1, 2)
        fused = [
            self._fused(index, region.flatten(0, 2), face)
            for index, region in enumerate(pixels.unbind(0))
        ]
        return torch.stack(fused).view(pixels.shape).permute(0, 1, 4, 2, 3)

    def _fused(self, index: int, region: Tensor, face: Tensor) -> Tensor:
        """Return (B*S*S, C) of a region (B*S*S, C) and the face (B, pixels, channels)."""
        ours = torch.matmul(face, self.face_weight[index])
        if self.resize is not None:
            ours = torch.matmul(self.resize.to(ours.dtype), ours)
        ours = ours.flatten(0, 1).add_(self.face_bias[index])
        own = torch.matmul(region, self.region_weight[index])
        (gate, ours), (more, own) = ours.chunk(2, dim=1), own.chunk(2, dim=1)
        gate = gate.add_(more).sigmoid_()
        return torch.lerp(_unit(own.add_(self.region_bias[index])), _unit(ours), gate)


def _joined(first: Tensor, second: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.cat([first, second], dim=2).detach())


def _unit(x: Tensor) -> Tensor:
    """Divide each row by its length, in place."""
    return x.div_(torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(EPS).to(x.dtype))
