"""Convolutions one behind the other, for n branches with weights of their own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aufleet_models.layers.folded.packed import pack
from aufleet_models.layers.folding import folded_conv
from aufleet_models.layers.high_level import (
    MIN_LOOP_CHANNELS,
    HighLevelExtractor,
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
    its last. On a CPU that only pays for large maps; small ones gain from fewer calls: the last
    four steps of 12 extractors take 8.8 instead of 10.2 ms for one face in bf16.

    Args:
        steps: The convolutions.
        num_branches: n.
        channels: Channels of a branch, which decide between the two forms.
        num_large: Steps with maps so large that they are taken branch by branch on a CPU too.
    """

    def __init__(
        self, steps: Sequence[Step], *, num_branches: int, channels: int, num_large: int
    ) -> None:
        super().__init__()
        self.num_branches, self.num_large = num_branches, num_large
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
        self.rest: nn.Sequential | None = None

    def pack(self, dtype: torch.dtype) -> None:
        """Lay the weights out for a CPU, see `packed`; group the steps with small maps."""
        if len(self.chains) > 1 and self.rest is None:
            steps = zip(*self.chains, strict=True)
            self.rest = nn.Sequential(*map(_grouped, list(steps)[self.num_large :]))
            self.chains = nn.ModuleList(
                chain[: self.num_large]  # pyright: ignore[reportIndexIssue]
                for chain in self.chains
            )
            pack(self.rest, dtype=dtype)
        pack(self.chains, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, B, C', H', W') for (n, B, C, H, W)."""
        return self.each(x.unbind(0))

    def each(self, branches: Iterable[Tensor]) -> Tensor:
        """Return (n, B, C', H', W') for n maps (B, C, H, W), which are asked for one by one."""
        if not self.looped:
            return self._split(self.chains[0](torch.cat(list(branches), 1)))
        found = [chain(branch) for chain, branch in zip(self.chains, branches, strict=True)]
        if self.rest is None:
            return torch.stack(found)
        return self._split(self.rest(torch.cat(found, 1)))

    def _split(self, x: Tensor) -> Tensor:
        return split_branches(x, num_branches=self.num_branches)


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
            steps,
            num_branches=extractor.num_branches,
            channels=extractor.min_channels,
            num_large=2,
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

    def regions(self, feature: Tensor, maps: Tensor) -> Tensor:
        """Return (n, B, 160, 5, 5) for a feature (B, C, 44, 44) times maps (n, B, 44, 44)."""
        return self.chain.each(feature * some.unsqueeze(1) for some in maps.unbind(0))


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


def _grouped(steps: Sequence[nn.Module]) -> nn.Sequential:
    """Return the same step of each branch as one, the inverse of `split_conv`."""
    convs = [step[0] for step in steps]  # pyright: ignore[reportIndexIssue]
    first, num = convs[0], len(convs)
    joined = nn.Conv2d(
        num * first.in_channels,
        num * first.out_channels,
        first.kernel_size,
        padding=first.padding,
        groups=num * first.groups,
        device=first.weight.device,
    )
    joined.weight = nn.Parameter(torch.cat([conv.weight for conv in convs]))
    joined.bias = nn.Parameter(torch.cat([conv.bias for conv in convs]))
    return nn.Sequential(joined, *list(steps[0])[1:])  # pyright: ignore[reportArgumentType]


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def _behind(step: Step) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.ReLU(inplace=True)] if step.relu else []
    return [*layers, nn.MaxPool2d(2)] if step.pool else layers
