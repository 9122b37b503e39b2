"""The skip-BiLSTM: a two-way convolutional LSTM over regions, from the top of a face to its chin.

Source: LGRNet and ALGRNet. The cell has no peepholes. Inside, maps are (B, S, S, 2C): channels
last, the two directions beside each other.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Gate = Literal["channel", "scalar"]
NUM_GATES = 4
NUM_DIRECTIONS = 2


class SkipBiLSTM(nn.Module):
    """Each region sees all earlier ones, each through a gate of its own (skip), or the last one.

    With 64 channels 295,168 parameters per direction, and 4,160 per direction and region for the
    gates.

    Args:
        num_regions: n.
        channels: Channels of a region's map and of the hidden state.
        skip: Gates to all earlier regions; False is a plain BiLSTM.
        gate: One number per channel, or one per pair of regions.
        map_pad: Zero padding of the gates' 1x1 convolutions: 0, or 1 as the papers print.
    """

    def __init__(
        self,
        num_regions: int,
        channels: int,
        *,
        skip: bool = True,
        gate: Gate = "channel",
        map_pad: int = 0,
    ) -> None:
        super().__init__()
        self.map_pad = map_pad
        # Regions follow each other by definition; the directions are the groups of one
        # convolution. Taking its input half for all regions at once leaves the cache: 26 ms per
        # frame against 20 with 8 channels and 8 regions, equal within 4 % with 64 and 12 (one
        # thread, forward and backward).
        self.conv = nn.Conv2d(
            NUM_DIRECTIONS * 2 * channels,
            NUM_DIRECTIONS * NUM_GATES * channels,
            3,
            padding=1,
            groups=NUM_DIRECTIONS,
        )
        self.skips = _Skips(num_regions, channels, gate=gate) if skip else None

    def forward(
        self,
        feature: Tensor,
        maps: Tensor,
        centres: Tensor | None = None,
        ratios: Tensor | None = None,
    ) -> Tensor:
        """Return (n, B, C, S, S): the regions, each plus the mean of its two states.

        Args:
            feature: (B, C, S, S).
            maps: (n, B, S, S); region t is the feature times map t.
            centres: Where the maps lie; only the folded layer makes use of it.
            ratios: How large they are; likewise.
        """
        feature = feature.permute(0, 2, 3, 1)
        regions = feature * maps.unsqueeze(-1)
        both_ways = torch.cat([regions, regions.flip(0)], dim=-1)
        doubled = torch.cat([feature] * NUM_DIRECTIONS, dim=-1)
        down, up = torch.stack(self._states(both_ways, doubled, maps)).chunk(NUM_DIRECTIONS, dim=-1)
        related = regions + (down + up.flip(0)) / 2
        return related.permute(0, 1, 4, 2, 3)

    def _states(self, both_ways: Tensor, feature: Tensor, maps: Tensor) -> list[Tensor]:
        """Return n states (B, S, S, 2C): state t is of region t and of region n-1-t."""
        states: list[Tensor] = []
        pooled: list[Tensor] = []
        memory = None
        for step, region in enumerate(both_ways.unbind(0)):
            if self.skips is None or not states:
                seen = states[-1] if states else torch.zeros_like(region)
            else:
                weights = self.skips(torch.stack([each[step] for each in pooled]))
                seen = weighted_sum(states, weights[:, :, None, None].unbind(0))
            state, memory = _cell(self._gates(region, seen), memory)
            states.append(state)
            if self.skips is not None:
                pooled.append(self.pool(state * feature, maps))
        return states

    def pool(self, products: Tensor, maps: Tensor) -> Tensor:
        """Return the means (n, B, 2C) over pixels of a state times each region.

        A 1x1 convolution and the mean commute, so that this is all the gates need. A region is
        feature times map: state times feature is taken once, and one matrix product with the
        maps serves all regions. Products with each region made the layer 4 to 14 % slower.
        """
        sums = torch.bmm(maps.transpose(0, 1).flatten(2), products.flatten(1, 2)).transpose(0, 1)
        down, up = sums.chunk(NUM_DIRECTIONS, dim=-1)
        # Padding only adds pixels of zeros.
        num_pixels = (maps.shape[-1] + 2 * self.map_pad) ** 2
        return torch.cat([down, up.flip(0)], dim=-1) / num_pixels

    def _gates(self, region: Tensor, seen: Tensor) -> Tensor:
        """Return the gates before their activations, (4, B, S, S, 2C)."""
        halves = [x.unflatten(-1, (NUM_DIRECTIONS, -1)) for x in (region, seen)]
        joined = torch.stack(halves, dim=-2).flatten(3)
        gates = self.conv(joined.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        gates = gates.unflatten(-1, (NUM_DIRECTIONS, NUM_GATES, -1))
        return gates.movedim(-2, 0).flatten(-2)


def weighted_sum(states: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Return the sum of maps (B, S, S, 2C), each times its weights (B, 1, 1, 2C)."""
    # One term after the other: stacking the states first took 1.2 times as long, as every map
    # passes through memory once more.
    total = states[0] * weights[0]
    for state, weight in zip(states[1:], weights[1:], strict=True):
        total = torch.addcmul(total, state, weight)
    return total


class _Skips(nn.Module):
    """The gates from earlier states to the present region.

    `weight[d, j]` belongs to the j-th state of direction d. The last state of a direction has
    nothing after it: its gate is counted by the papers and never used.
    """

    def __init__(self, num_regions: int, channels: int, *, gate: Gate) -> None:
        super().__init__()
        self.channels = channels
        outputs = channels if gate == "channel" else 1
        bound = 1 / math.sqrt(channels)
        shape = (NUM_DIRECTIONS, num_regions)
        self.weight = nn.Parameter(torch.empty(*shape, channels, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*shape, 1, outputs).uniform_(-bound, bound))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return gates (j, B, 2C) in (0, 1) for pooled products (j, B, 2C) of j states."""
        num_states = len(pooled)
        x = pooled.unflatten(-1, (NUM_DIRECTIONS, -1)).permute(2, 0, 1, 3)
        logits = x @ self.weight[:, :num_states] + self.bias[:, :num_states]
        gates = torch.sigmoid(logits).permute(1, 2, 0, 3)
        return gates.expand(-1, -1, -1, self.channels).flatten(2).to(pooled.dtype)


def _cell(gates: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the new state and memory of gates (4, ...); no memory means zeros."""
    enter, forget, leave, value = gates.unbind(0)
    fresh = torch.sigmoid(enter) * torch.tanh(value)
    if memory is not None:
        fresh = torch.addcmul(fresh, torch.sigmoid(forget), memory)
    return torch.sigmoid(leave) * torch.tanh(fresh), fresh
