import pytest
import torch
from torch.nn import functional

from aufleet_models.layers.skip_lstm import SkipBiLSTM


def _direction(lstm: SkipBiLSTM, regions: torch.Tensor, direction: int) -> list[torch.Tensor]:
    """One direction, cell by cell as the papers write it, for regions in the order of reading."""
    channels = regions.shape[2]
    weight, bias = (p.chunk(2)[direction] for p in (lstm.conv.weight, lstm.conv.bias))
    states, memory = [], torch.zeros_like(regions[0])
    for region in regions:
        seen = torch.zeros_like(region)
        if lstm.skips is None and states:
            seen = states[-1]
        elif lstm.skips is not None:
            for j, state in enumerate(states):
                kernel = lstm.skips.weight[direction, j].t()[..., None, None]
                gate = functional.conv2d(
                    state * region,
                    kernel,
                    lstm.skips.bias[direction, j, 0],
                    padding=lstm.map_pad,
                )
                seen = seen + state * torch.sigmoid(gate.mean((2, 3), keepdim=True))
        gates = functional.conv2d(torch.cat([region, seen], 1), weight, bias, padding=1)
        enter, forget, leave, value = gates.split(channels, 1)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(value)
        states.append(torch.sigmoid(leave) * torch.tanh(memory))
    return states


@pytest.mark.parametrize(
    "options",
    [{}, {"skip": False}, {"gate": "scalar"}, {"map_pad": 1}],
    ids=["skip", "plain", "scalar", "padded"],
)
@torch.no_grad()
def test_the_recurrence_is_the_one_of_the_papers(options: dict) -> None:
    torch.manual_seed(0)
    lstm = SkipBiLSTM(4, 3, **options)
    feature, maps = torch.randn(2, 3, 8, 8), torch.rand(4, 2, 8, 8)
    regions = feature * maps[:, :, None]
    down = torch.stack(_direction(lstm, regions, 0))
    up = torch.stack(_direction(lstm, regions.flip(0), 1)).flip(0)
    torch.testing.assert_close(lstm(feature, maps), regions + (down + up) / 2, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_reversed_regions_with_swapped_weights_give_the_reversed_result() -> None:
    torch.manual_seed(0)
    lstm, swapped = SkipBiLSTM(3, 4), SkipBiLSTM(3, 4)
    for one, other in zip(lstm.parameters(), swapped.parameters(), strict=True):
        halves = one if one.shape[0] == 2 else one.unflatten(0, (2, -1))
        other.copy_(halves.flip(0).reshape(one.shape))
    feature, maps = torch.randn(2, 4, 6, 6), torch.rand(3, 2, 6, 6)
    torch.testing.assert_close(swapped(feature, maps.flip(0)).flip(0), lstm(feature, maps))
