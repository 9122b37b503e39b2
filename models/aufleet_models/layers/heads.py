"""Heads: from 160 x 5 x 5 features to log-odds of units, or to log-probabilities of grades.

The papers end a unit's head in a softmax over "absent" and "present"; its log-odds are the
difference of the two numbers, which is what these heads return.
"""

import torch
from torch import Tensor, nn

from aufleet_models.layers.branches import BranchLinear
from aufleet_models.layers.folding import fold_branch_pair, fold_linear_pair
from aufleet_models.layers.scaling import scaled

NUM_STATES = 2
"""A unit is absent (first number) or present."""


class LocalHeads(nn.Module):
    """One head per region: two linear layers without an activation between them.

    256,194 parameters per region with 4,000 features.
    """

    def __init__(self, num_regions: int, num_features: int, *, width: float = 1.0) -> None:
        super().__init__()
        hidden = scaled(64, width)
        self.hidden: nn.Module = BranchLinear(num_regions, num_features, hidden)
        self.states = BranchLinear(num_regions, hidden, NUM_STATES)

    def forward(self, features: Tensor) -> Tensor:
        """Return log-odds (B, n) for features (n, B, C, 5, 5)."""
        return log_odds(exactly(self.states, self.hidden(features.flatten(2))), dim=2).t()

    def fold(self) -> None:
        """Multiply the two linear layers."""
        if isinstance(self.hidden, BranchLinear):
            self.states = fold_branch_pair(self.hidden, self.states)
            self.hidden = nn.Identity()


class IntegratedHead(nn.Module):
    """Two linear layers over one feature of the whole face.

    Args:
        num_features: Numbers per frame.
        num_outputs: Units or grades.
        per_state: Two numbers per unit, absent first; False for grades.
        activation: ReLU between the layers; the papers have none.
        width: Scale of the hidden layer.
    """

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        *,
        per_state: bool,
        activation: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        hidden = scaled(512, width)
        self.per_state = per_state
        self.hidden: nn.Module = nn.Linear(num_features, hidden)
        self.activation: nn.Module = nn.ReLU() if activation else nn.Identity()
        self.outputs = nn.Linear(hidden, num_outputs * (NUM_STATES if per_state else 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return log-odds (B, n), or unnormalised log-probabilities (B, grades)."""
        outputs = exactly(self.outputs, self.activation(self.hidden(features.flatten(1))))
        return (
            log_odds(outputs.unflatten(1, (NUM_STATES, -1)), dim=1) if self.per_state else outputs
        )

    def fold(self) -> None:
        """Multiply the two linear layers, where no activation lies between them."""
        if isinstance(self.activation, nn.Identity) and isinstance(self.hidden, nn.Linear):
            self.outputs = fold_linear_pair(self.hidden, self.outputs)
            self.hidden = nn.Identity()


def exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """Return layer(x) in the dtype of its weights, also under autocast."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.to(weight.dtype))


def log_odds(states: Tensor, *, dim: int) -> Tensor:
    """Return log(p / (1 - p)) for the two inputs of a softmax along `dim`, in fp32."""
    absent, present = states.float().unbind(dim)
    return present - absent


def mean_of_probabilities(first: Tensor, second: Tensor) -> Tensor:
    """Return the log-odds of the mean of two probabilities that are given as log-odds."""
    log_sigmoid = nn.functional.logsigmoid
    present = torch.logaddexp(log_sigmoid(first), log_sigmoid(second))
    absent = torch.logaddexp(log_sigmoid(-first), log_sigmoid(-second))
    return present - absent
