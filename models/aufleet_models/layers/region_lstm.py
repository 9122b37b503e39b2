"""L-Net of LP-Net: one LSTM per unit reads the regions of the face in order.

Shapes: B batch, U units, K regions, D features of a region, H hidden size of each LSTM.
"""

import torch
from torch import Tensor, nn


class RegionLstms(nn.Module):
    """Independent one-layer LSTMs, run together, each with a linear answer at every step.

    Gate order and the two biases are those of `torch.nn.LSTM`. The answers of the steps are
    averaged; a linear map and an average commute, so the hidden states are averaged first.
    """

    def __init__(self, *, num_units: int, num_features: int, hidden: int) -> None:
        super().__init__()
        self.num_units, self.hidden = num_units, hidden
        self.weight_input = nn.Parameter(torch.empty(num_units, 4 * hidden, num_features))
        self.weight_hidden = nn.Parameter(torch.empty(num_units, hidden, 4 * hidden))
        self.bias_input = nn.Parameter(torch.empty(num_units, 4 * hidden))
        self.bias_hidden = nn.Parameter(torch.empty(num_units, 4 * hidden))
        self.weight_answer = nn.Parameter(torch.empty(num_units, hidden))
        self.bias_answer = nn.Parameter(torch.empty(num_units))
        # The bound of nn.LSTM, and of an nn.Linear that takes H numbers.
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def forward(self, regions: Tensor) -> Tensor:
        """Return the mean answer of each LSTM.

        Args:
            regions: (B, K, D).

        Returns:
            (B, U).
        """
        num_frames, num_regions = regions.shape[:2]
        inputs = self._inputs(regions)
        # States keep the precision of the parameters, also under autocast: 49 steps add up.
        hidden = self.bias_hidden.new_zeros(self.num_units, num_frames, self.hidden)
        cell, total = torch.zeros_like(hidden), torch.zeros_like(hidden)
        for step in range(num_regions):
            gates = torch.baddbmm(inputs[step], hidden, self.weight_hidden)
            enter, forget, candidate, leave = gates.chunk(4, dim=2)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            total = total + hidden
        mean = total / num_regions
        return (mean * self.weight_answer[:, None]).sum(dim=2).T + self.bias_answer

    def _inputs(self, regions: Tensor) -> Tensor:
        """Return what the regions add to the gates: (K, U, B, 4H), from one matrix product."""
        weight, bias = self.weight_input.flatten(0, 1), self.bias_input + self.bias_hidden
        gates = nn.functional.linear(regions.transpose(0, 1), weight, bias.flatten())
        return gates.unflatten(2, (self.num_units, -1)).transpose(1, 2)
