"""Convolutions one behind the other, for n branches with weights of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aufleet_models.layers.folding import folded_conv
from aufleet_models.layers.high_level import (
    MIN_LOOP_CHANNELS,
    HighLevelExtractor,
    merge_branches,
    split_branches,
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One convolution of a chain.

    Attributes:
        conv: With one group per branch; its batch norm is part of it.
        relu: ReLU behind it.
        pool: 2x2 pooling behind that.
    """

    conv: nn.Conv2d
    relu: bool = True
    pool: bool = False


class BranchChain(nn.Module):
    """The steps of each branch, one branch after the other, or grouped where they are narrow.

    One branch after the other keeps a branch's maps in the cache from its first convolution to
    its last.

    Args:
        steps: The convolutions.
        num_branches: n.
        channels: Channels of a branch, which decide between the two forms.
    """

    def __init__(self, steps: Sequence[Step], *, num_branches: int, channels: int) -> None:
        super().__init__()
        self.num_branches = num_branches
        self.looped = channels >= MIN_LOOP_CHANNELS
        num_chains = num_branches if self.looped else 1
        layers = [split_conv(step.conv, num_chains) for step in steps]
        self.chains = nn.ModuleList(
            nn.Sequential(
                *(
                    nn.Sequential(convs[chain], *_behind(step))
                    for convs, step in zip(layers, steps, strict=True)
                )
            )
            for chain in range(num_chains)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, B, C', H', W') for (n, B, C, H, W)."""
        if self.looped:
            return torch.stack(
                [chain(branch) for chain, branch in zip(self.chains, x.unbind(0), strict=True)]
            )
        return split_branches(self.chains[0](merge_branches(x)), num_branches=self.num_branches)


class FoldedExtractor(nn.Module):
    """A `HighLevelExtractor` as a chain."""

    def __init__(self, extractor: HighLevelExtractor) -> None:
        super().__init__()
        self.out_channels = extractor.out_channels
        steps = [
            Step(conv=folded_conv(layer.conv, layer.norm), pool=bool(number % 2))  # pyright: ignore
            for number, layer in enumerate(extractor.layers)
        ]
        self.chain = BranchChain(
            steps, num_branches=extractor.num_branches, channels=extractor.min_channels
        )

    def forward(self, x: Tensor, *, pooled: bool = True) -> Tensor:
        """Return (B, 160, 5, 5) for (B, C, 44, 44), or (B, 160, 44, 44) without pooling."""
        if pooled:
            return self.chain(x.unsqueeze(0)).squeeze(0)
        for step in self.chain.chains[0]:  # pyright: ignore[reportGeneralTypeIssues]
            x = step[:2](x)
        return x

    def branches(self, x: Tensor) -> Tensor:
        """Return (n, B, 160, 5, 5) for (n, B, C, 44, 44)."""
        return self.chain(x)


def split_conv(conv: nn.Conv2d, num: int) -> list[nn.Conv2d]:
    """Return a convolution as `num` convolutions of equal shares of its groups."""
    parts = []
    for weight, bias in zip(conv.weight.chunk(num), _bias(conv).chunk(num), strict=True):
        part = nn.Conv2d(
            conv.in_channels // num,
            conv.out_channels // num,
            conv.kernel_size,  # pyright: ignore[reportArgumentType]
            padding=conv.padding,  # pyright: ignore[reportArgumentType]
            groups=conv.groups // num,
            device=weight.device,
        )
        part.weight = nn.Parameter(weight.clone(memory_format=torch.channels_last))
        part.bias = nn.Parameter(bias.clone())
        parts.append(part)
    return parts


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def _behind(step: Step) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.ReLU(inplace=True)] if step.relu else []
    return [*layers, nn.MaxPool2d(2)] if step.pool else layers
