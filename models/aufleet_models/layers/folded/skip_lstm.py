"""The skip-BiLSTM with less arithmetic: the same states from the same weights.

- The input half of the recurrent convolution sees a region, which is zero outside its box: only
  windows around the two centres are convolved.
- The hidden half of the first step sees nothing and is left out. On a CPU it takes columns in
  pairs; the maps of all steps then hold the even columns before the odd ones.
- The gates from a state to all later regions are found when the state is.
- tanh(x) = 2 sigmoid(2x) - 1, the first factor in the weights.

Step t is of region t on the way down the face and of region n-1-t on the way up.
"""

import copy
import math

import torch
from torch import Tensor, nn

from aufleet_models.layers.folded.column_pairs import ColumnPairs, columns_apart, columns_together
from aufleet_models.layers.folded.packed import PackedConv
from aufleet_models.layers.folded.region_inputs import RegionInputs
from aufleet_models.layers.folded.shares import shares
from aufleet_models.layers.maps import MAX_RATIO, box_cells, half_box, half_soft_box
from aufleet_models.layers.skip_lstm import NUM_DIRECTIONS, NUM_GATES, SkipBiLSTM, weighted_sum

VALUE = 3
"""The gate with the tanh."""


class FoldedSkipBiLSTM(nn.Module):
    """A `SkipBiLSTM` for inference."""

    def __init__(self, lstm: SkipBiLSTM) -> None:
        super().__init__()
        self.skips, self.map_pad = lstm.skips, lstm.map_pad
        conv = copy.deepcopy(lstm.conv)
        _double_values(conv)
        self.input: nn.Module = _input_half(conv)
        self.hidden: nn.Module = _hidden_half(conv)
        self.bias = nn.Parameter(_bias(conv))

    def pack(self, dtype: torch.dtype) -> None:
        """Lay the weights out for a CPU, see `packed`."""
        assert isinstance(self.hidden, nn.Conv2d)
        assert isinstance(self.input, nn.Conv2d)
        self.hidden = ColumnPairs(self.hidden, relu=False, dtype=dtype)
        self.input = PackedConv(self.input, relu=False, dtype=dtype)

    def forward(
        self, feature: Tensor, maps: Tensor, centres: Tensor, ratios: Tensor | None = None
    ) -> Tensor:
        """Return (n, B, C, S, S): the regions, each plus the mean of its two states.

        Args:
            feature: (B, C, S, S).
            maps: (n, B, S, S); region t is the feature times map t.
            centres: (B, n, 2, 2) of the maps, in pixels of the crop.
            ratios: (B, n) of soft maps; None where they are hard ones.
        """
        cells = box_cells(centres, size=feature.shape[-1])
        feature, maps = feature.permute(0, 2, 3, 1), maps.transpose(0, 1)
        related = [
            self._related(
                feature[share],
                maps[share],
                cells[share],
                ratios=None if ratios is None else ratios[share],
            )
            for share in shares(feature)
        ]
        return torch.cat(related).permute(1, 0, 4, 2, 3)

    def _related(
        self, feature: Tensor, maps: Tensor, cells: Tensor, *, ratios: Tensor | None
    ) -> Tensor:
        """Return (B, n, S, S, C) of a feature (B, S, S, C) and maps (B, n, S, S)."""
        regions = feature.unsqueeze(1) * maps.unsqueeze(-1)
        halves = _halves(maps, ratios)
        in_pairs = isinstance(self.hidden, ColumnPairs)
        inputs = RegionInputs(self.input, feature, maps, cells, halves=halves, in_pairs=in_pairs)
        if not in_pairs:
            return _with_states(regions, self._states(feature, maps, inputs))
        feature, maps = columns_apart(feature, dim=1), columns_apart(maps, dim=2)
        states = [state.unflatten(1, (2, -1)) for state in self._states(feature, maps, inputs)]
        _with_states(columns_together(regions, dim=2), states)
        return regions

    def _states(self, feature: Tensor, maps: Tensor, inputs: RegionInputs) -> list[Tensor]:
        """Return n states (B, S, S, 2C), with their columns apart where those of the inputs are."""
        doubled = torch.cat([feature] * NUM_DIRECTIONS, dim=-1)
        states: list[Tensor] = []
        skips: list[Tensor] = []
        memory = None
        for step in range(maps.shape[1]):
            gates = self._hidden(self._seen(states, skips, step), like=doubled)
            inputs.add_to(gates, step)
            state, memory = _cell(gates, memory)
            states.append(state)
            if self.skips is not None:
                skips.append(self._skips(state * doubled, maps, number=step))
        return states

    def _seen(self, states: list[Tensor], skips: list[Tensor], step: int) -> Tensor | None:
        if not states or self.skips is None:
            return states[-1] if states else None
        return weighted_sum(states, [weights[:, step, None, None] for weights in skips])

    def _skips(self, products: Tensor, maps: Tensor, *, number: int) -> Tensor:
        """Return the gates (B, n, 2C) from one state to each step.

        Args:
            products: (B, S, S, 2C) the state times the feature.
            maps: (B, n, S, S).
            number: Of the state.
        """
        assert self.skips is not None
        sums = torch.bmm(maps.flatten(2), products.flatten(1, 2))
        batch, steps, _ = sums.shape
        # Padding only adds pixels of zeros.
        sums = sums / (math.isqrt(maps.shape[2] * maps.shape[3]) + 2 * self.map_pad) ** 2
        pooled = sums.view(batch * steps, NUM_DIRECTIONS, -1).transpose(0, 1)
        weight, bias = self.skips.weight[:, number], self.skips.bias[:, number]
        gates = torch.baddbmm(bias, pooled, weight).sigmoid_()
        down, up = gates.view(NUM_DIRECTIONS, batch, steps, -1).unbind(0)
        gates = torch.stack([down, up.flip(1)], 2).to(products.dtype)
        return gates.expand(-1, -1, -1, products.shape[-1] // NUM_DIRECTIONS).flatten(2)

    def _hidden(self, seen: Tensor | None, *, like: Tensor) -> Tensor:
        """Return what was seen adds to the gates, (B, S, S, 2 * 4C)."""
        shape = (*like.shape[:-1], len(self.bias))
        if seen is None:
            return self.bias.to(like.dtype).expand(shape).contiguous()
        if not isinstance(self.hidden, ColumnPairs):
            return _convolved(self.hidden, seen)
        gates = like.new_empty(shape)
        even, odd = seen.permute(0, 3, 1, 2).chunk(2, dim=2)
        self.hidden(even, odd, out=gates.unflatten(1, (2, -1)).transpose(0, 1))
        return gates


def _halves(maps: Tensor, ratios: Tensor | None) -> list[int]:
    """Return half the box of each region, the largest among the frames."""
    size, num = maps.shape[-1], maps.shape[1]
    if ratios is None:
        return [half_box(size)] * num
    # A GPU is not asked: in a graph that it captures no number is known.
    on_cpu = ratios.device.type == "cpu"
    largest = ratios.amax(0).tolist() if on_cpu else [MAX_RATIO] * num
    return [half_soft_box(ratio, size=size) for ratio in largest]


def _with_states(regions: Tensor, states: list[Tensor]) -> Tensor:
    """Add to each region the mean of its two states, in place.

    Args:
        regions: (B, n, ..., C).
        states: n of (B, ..., 2C).
    """
    for number, region in enumerate(regions.unbind(1)):
        down, up = states[number], states[-1 - number]
        region.add_(down[..., : region.shape[-1]], alpha=0.5)
        region.add_(up[..., region.shape[-1] :], alpha=0.5)
    return regions


def _convolved(conv: nn.Module, x: Tensor) -> Tensor:
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


def _cell(gates: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return state and memory (B, S, S, 2C) of gates (B, S, S, 2 * 4C)."""
    parts = gates.unflatten(-1, (NUM_DIRECTIONS, NUM_GATES, -1)).unbind(-2)
    enter, forget, leave, value = (part.sigmoid().flatten(3) for part in parts)
    fresh = torch.addcmul(-enter, enter, value, value=2)
    if memory is not None:
        fresh.addcmul_(forget, memory)
    return torch.addcmul(-leave, leave, (2 * fresh).sigmoid_(), value=2), fresh


def _bias(conv: nn.Module) -> Tensor:
    assert isinstance(conv.bias, Tensor)
    return conv.bias.detach()


@torch.no_grad()
def _double_values(conv: nn.Module) -> None:
    for parameter in (conv.weight, conv.bias):
        assert isinstance(parameter, Tensor)
        parameter.unflatten(0, (NUM_DIRECTIONS, NUM_GATES, -1))[:, VALUE] *= 2


def _input_half(conv: nn.Module) -> nn.Conv2d:
    """Return the convolution of regions for both directions, without padding and bias."""
    assert isinstance(conv, nn.Conv2d)
    channels = conv.in_channels // (2 * NUM_DIRECTIONS)
    part = nn.Conv2d(channels, conv.out_channels, 3, bias=False, device=conv.weight.device)
    weight = conv.weight[:, :channels]
    part.weight = nn.Parameter(weight.clone(memory_format=torch.channels_last))
    return part


def _hidden_half(conv: nn.Module) -> nn.Conv2d:
    """Return the convolution of the states."""
    assert isinstance(conv, nn.Conv2d)
    channels = conv.in_channels // (2 * NUM_DIRECTIONS)
    part = nn.Conv2d(
        NUM_DIRECTIONS * channels,
        conv.out_channels,
        3,
        padding=1,
        groups=NUM_DIRECTIONS,
        device=conv.weight.device,
    )
    part.weight = nn.Parameter(conv.weight[:, channels:].clone(memory_format=torch.channels_last))
    part.bias = nn.Parameter(_bias(conv).clone())
    return part
