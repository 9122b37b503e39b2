"""The high-level extractor: six convolutions and three poolings, for one map or for n branches.

Branches have weights of their own. Their maps come as (n, B, C, S, S), branch first, each branch
in channels_last.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.folding import fold_conv_norm
from aufleet_models.layers.scaling import scaled

MIN_LOOP_CHANNELS = 32
"""Branches with at least so many channels run one after the other on a CPU.

One thread, forward and backward, ms per frame (AMX processor), grouped against looped:
8 branches of 6 channels 2.6 / 4.1, of 24 channels 17 / 14; 12 branches of 96 channels 254 / 201,
and in bf16 94 / 66. Grouped convolutions gain from few channels, where calls cost more than
arithmetic.
"""


class BranchConv(nn.Conv2d):
    """A convolution with one group per branch, for their concatenation or for each of n maps.

    Lists pass through `forward` as well: ZeRO-3 gathers the weights of a layer while it is called,
    so that nobody else may read them.
    """

    def forward(self, input: Tensor | list[Tensor]) -> Any:  # noqa: ANN401 - as in nn.Conv2d
        """Return (B, n*out, S, S) for (B, n*in, S, S), or n maps (B, out, S, S) for n maps."""
        if isinstance(input, Tensor):
            return super().forward(input)
        weights, biases = self.weight.chunk(len(input)), _chunks(self.bias, len(input))
        return [
            functional.conv2d(x, weight, bias, padding=self.padding)  # pyright: ignore
            for x, weight, bias in zip(input, weights, biases, strict=True)
        ]


class BranchNorm(nn.BatchNorm2d):
    """The batch norm behind a `BranchConv`, for the same two forms."""

    def forward(self, input: Tensor | list[Tensor]) -> Any:  # noqa: ANN401
        """Return what is normalised over the channels of all branches, or of each."""
        if isinstance(input, Tensor):
            return super().forward(input)
        # Chunks of the running statistics are views: training updates them in place.
        stores = (self.running_mean, self.running_var, self.weight, self.bias)
        parts = zip(input, *(_chunks(store, len(input)) for store in stores), strict=True)
        return [
            functional.batch_norm(
                x, mean, var, scale, shift, self.training, self.momentum or 0.0, self.eps
            )
            for x, mean, var, scale, shift in parts
        ]


def _chunks(values: Tensor | None, num: int) -> list[Tensor] | list[None]:
    return [None] * num if values is None else list(values.chunk(num))


class ConvNorm(nn.Module):
    """3x3 convolution, batch norm and ReLU for each of n branches.

    Args:
        in_channels: Channels per branch of the map.
        out_channels: Channels per branch of the result.
        num_branches: n.
        padding: Zero padding of the convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, num_branches: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.num_branches = num_branches
        self.conv = BranchConv(
            num_branches * in_channels,
            num_branches * out_channels,
            3,
            padding=padding,
            groups=num_branches,
        )
        self.norm: nn.Module = BranchNorm(num_branches * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n*out, S, S) for (B, n*in, S, S)."""
        return functional.relu(self.norm(self.conv(x)), inplace=True)

    def each(self, branches: list[Tensor]) -> list[Tensor]:
        """Return the same as `forward` for a list of n maps (B, in, S, S)."""
        return [functional.relu(x, inplace=True) for x in self.norm(self.conv(branches))]

    def fold(self) -> None:
        """Multiply the batch norm into the convolution."""
        fold_conv_norm(self, "conv", "norm")


def faster_looped(x: Tensor, *, channels: int) -> bool:
    """Return whether branches of so many channels run faster one after the other."""
    return x.device.type == "cpu" and channels >= MIN_LOOP_CHANNELS


class HighLevelExtractor(nn.Module):
    """Maps of 44 (or 46) px to 160 x 5 x 5: channels 96, 96 | 128, 128 | 160, 160.

    813,312 parameters per branch with 64 input channels at width 1.0.

    Args:
        in_channels: Channels of the map, per branch.
        width: Scale of the channel counts.
        num_branches: n extractors that share nothing.
    """

    def __init__(self, in_channels: int, *, width: float = 1.0, num_branches: int = 1) -> None:
        super().__init__()
        self.num_branches = num_branches
        self.out_channels = scaled(160, width)
        layers = []
        for out_channels in (scaled(96, width), scaled(128, width), self.out_channels):
            layers += [
                ConvNorm(in_channels, out_channels, num_branches=num_branches),
                ConvNorm(out_channels, out_channels, num_branches=num_branches),
            ]
            in_channels = out_channels
        self.layers = nn.ModuleList(layers)
        self.min_channels = scaled(96, width)

    def forward(self, x: Tensor, *, pooled: bool = True) -> Tensor:
        """Return (B, 160, 5, 5) for (B, C, 44, 44), or (B, 160, 44, 44) without pooling."""
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if pooled and number % 2:
                x = functional.max_pool2d(x, 2)
        return x

    def branches(self, x: Tensor) -> Tensor:
        """Return (n, B, 160, 5, 5) for (n, B, C, 44, 44): branch k sees x[k]."""
        if faster_looped(x, channels=self.min_channels):
            return self._looped(x)
        return split_branches(self(merge_branches(x)), num_branches=self.num_branches)

    def regions(self, feature: Tensor, maps: Tensor) -> Tensor:
        """Return (n, B, 160, 5, 5): branch k sees the feature (B, C, 44, 44) times maps[k]."""
        return self.branches(feature * maps.unsqueeze(2))

    def _looped(self, x: Tensor) -> Tensor:
        maps = list(x.unbind(0))
        for number, layer in enumerate(self.layers):
            maps = layer.each(maps)  # pyright: ignore[reportCallIssue]
            if number % 2:
                maps = [functional.max_pool2d(item, 2) for item in maps]
        return torch.stack(maps)


def merge_branches(x: Tensor) -> Tensor:
    """Return (B, n*C, H, W) in channels_last for (n, B, C, H, W)."""
    return x.permute(1, 3, 4, 0, 2).flatten(3).permute(0, 3, 1, 2)


def split_branches(x: Tensor, *, num_branches: int) -> Tensor:
    """Return (n, B, C, H, W) for (B, n*C, H, W): the inverse of `merge_branches`."""
    return x.unflatten(1, (num_branches, -1)).transpose(0, 1)
