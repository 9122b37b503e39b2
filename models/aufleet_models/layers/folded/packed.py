"""Convolutions and linear layers whose weights are laid out once, as the CPU's library wants."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

# The operators behind torch.compile's own inference on CPUs; torch is pinned exactly.
_REORDER_CONV = torch._C._nn.mkldnn_reorder_conv2d_weight  # pyright: ignore
_REORDER_LINEAR = torch.ops.mkldnn._reorder_linear_weight


class PackedConv(nn.Module):
    """A convolution with ReLU inside, for a CPU.

    `nn.Conv2d` lays its weights out again in each call, and passes over the result once more for
    the ReLU: with 160 channels on 11 x 11 pixels that is a third of the time.

    Args:
        conv: The convolution.
        relu: ReLU behind it.
        dtype: Of weights and results.
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.out_channels, self.dtype = conv.out_channels, dtype
        self.shape = ([*_pair(conv.padding)], [*conv.stride], [*conv.dilation], conv.groups)
        self.relu = "relu" if relu else "none"
        self.weight = conv.weight.detach().to(dtype)
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        self.packed: dict[bool, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the same as the convolution, in channels_last."""
        x = self._input(x)
        return torch.ops.mkldnn._convolution_pointwise(
            x, self._weight(x), self.bias, *self.shape, self.relu, [], ""
        )

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add the result to `total` (B, C, H, W), dense in channels_last, and take ReLU of it."""
        x, behind = self._input(x), None if self.relu == "none" else self.relu
        torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, self._weight(x), self.bias, *self.shape, "add", 1.0, behind, [], None
        )

    def _input(self, x: Tensor) -> Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)

    def _weight(self, x: Tensor) -> Tensor:
        # The library chooses another layout for one map than for several, and the wrong one
        # costs more than packing gains: 405 ms per face against 140 for JAA-Net.
        alone = len(x) == 1
        if alone not in self.packed:
            self.packed[alone] = _REORDER_CONV(self.weight.to_mkldnn(), *self.shape, [*x.shape])
        return self.packed[alone]


class PackedLinear(nn.Module):
    """A linear layer with ReLU inside, for a CPU.

    `nn.Linear` lays its weights out again in each call: with few rows a quarter of the time in
    bf16, a third in fp32.

    Args:
        linear: The layer, with a bias.
        relu: ReLU behind it.
        dtype: Of weights and results.
    """

    def __init__(self, linear: nn.Linear, *, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.relu = dtype, "relu" if relu else "none"
        self.weight, self.bias = linear.weight.detach().to(dtype), linear.bias.detach().to(dtype)
        self.packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out) for (..., in)."""
        rows = x.to(self.dtype).flatten(0, -2)
        if self.packed is None:
            self.packed = _REORDER_LINEAR(self.weight, len(rows))
        found = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, self.relu, [], "")
        return found.view(*x.shape[:-1], -1)


def pack_linear(layer: nn.Module, *, dtype: torch.dtype) -> PackedLinear:
    """Return a linear layer, or a sequence of one and a ReLU, as a `PackedLinear`."""
    linear, *behind = layer if isinstance(layer, nn.Sequential) else [layer]
    assert isinstance(linear, nn.Linear)
    return PackedLinear(linear, relu=bool(behind), dtype=dtype)


@runtime_checkable
class Packable(Protocol):
    """A layer that knows a better form of its convolutions than one by one."""

    def pack(self, dtype: torch.dtype) -> None:
        """Replace them in place."""


def pack(module: nn.Module, *, dtype: torch.dtype) -> None:
    """Replace the convolutions of a folded network, with the ReLU behind them, in place."""
    for name, child in list(module.named_children()):
        if isinstance(child, Packable):
            child.pack(dtype)
        elif type(child) is nn.Conv2d:  # not those that do more in their forward
            setattr(module, name, PackedConv(child, relu=False, dtype=dtype))
        elif isinstance(child, nn.Sequential) and _starts_with_conv_relu(child):
            packed = PackedConv(child[0], relu=True, dtype=dtype)  # pyright: ignore
            setattr(module, name, nn.Sequential(packed, *list(child)[2:]))
        else:
            pack(child, dtype=dtype)


def _starts_with_conv_relu(layers: nn.Sequential) -> bool:
    return len(layers) > 1 and type(layers[0]) is nn.Conv2d and isinstance(layers[1], nn.ReLU)


def _pair(padding: str | tuple[int, ...]) -> tuple[int, ...]:
    assert not isinstance(padding, str)
    return padding
