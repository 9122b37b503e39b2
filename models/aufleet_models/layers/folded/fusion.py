"""Fusion of regions with the whole face, frame by frame."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.folded.shares import shares
from aufleet_models.layers.fusion import EPS, GlobalFusion


class FoldedFusion(nn.Module):
    """A `GlobalFusion` that takes all regions of a frame at once and little memory.

    What is added is added by the products themselves or in place. Against region by region 8
    frames of 12 regions take 4.0 instead of 4.6 ms each in bf16, 7.6 instead of 12.6 in fp32.
    """

    resize: Tensor | None

    def __init__(self, fusion: GlobalFusion) -> None:
        super().__init__()
        self.map_pad = fusion.map_pad
        self.register_buffer("resize", fusion.resize, persistent=False)
        self.face_gate, self.gate_bias = fusion.global_gate.weight, _sum_of_biases(fusion)
        self.face_value, self.face_bias = fusion.global_value.weight, fusion.global_value.bias
        self.region_gate = fusion.local_gate.weight
        self.region_value, self.region_bias = fusion.local_value.weight, fusion.local_value.bias

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
        pixels, face = regions.permute(0, 1, 3, 4, 2), context.permute(0, 2, 3, 1).flatten(1, 2)
        fused = torch.empty(pixels.shape, dtype=pixels.dtype, device=pixels.device)
        for share in shares(face) if len(pixels) > 1 else [slice(None)]:
            some, out = (tensor[:, share].flatten(1, 3) for tensor in (pixels, fused))
            self._fuse(some, face[share], out=out)
        return fused.permute(0, 1, 4, 2, 3)

    def _fuse(self, regions: Tensor, face: Tensor, *, out: Tensor) -> None:
        """Fuse regions (n, B*S*S, C) with the face (B, pixels, channels)."""
        gate = self._spread(face, self.face_gate, self.gate_bias)
        gate = torch.baddbmm(gate, regions, self.region_gate).sigmoid_()
        own = torch.baddbmm(self.region_bias, regions, self.region_value)
        ours = self._spread(face, self.face_value, self.face_bias)
        torch.lerp(_unit(own), _unit(ours), gate, out=out)

    def _spread(self, face: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return (n, B*S*S, C): the 1x1 convolution of the global feature, then resized."""
        rows = face.flatten(0, 1).expand(len(weight), -1, -1)
        if self.resize is None:
            return torch.baddbmm(bias, rows, weight)
        small = torch.bmm(rows, weight).view(len(weight) * len(face), face.shape[1], -1)
        large = torch.matmul(self.resize.to(small.dtype), small)
        return large.view(len(weight), -1, large.shape[-1]).add_(bias)


def _sum_of_biases(fusion: GlobalFusion) -> nn.Parameter:
    return nn.Parameter((fusion.global_gate.bias + fusion.local_gate.bias).detach())


def _unit(x: Tensor) -> Tensor:
    """Divide each row by its length, in place."""
    return x.div_(torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(EPS))
