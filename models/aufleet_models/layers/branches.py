"""Linear layers with weights of their own for each of n branches."""

import math

import torch
from torch import Tensor, nn


class BranchLinear(nn.Module):
    """y[k] = x[k] W[k] + b[k] for n branches in one batched product.

    Initialised as `nn.Linear` is. A 1x1 convolution per branch is the same thing on pixels.

    Args:
        num_branches: n.
        in_features: Inputs per branch.
        out_features: Outputs per branch.
    """

    def __init__(self, num_branches: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.num_branches = num_branches
        self.weight = nn.Parameter(torch.empty(num_branches, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(num_branches, 1, out_features))
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, *, mix: Tensor | None = None) -> Tensor:
        """Return (n, rows, out) for (n, rows, in).

        Args:
            x: (n, rows, in).
            mix: (after, before) sums over groups of rows, taken before the bias is added: each
                group of so many rows before becomes so many rows after.
        """
        if mix is None:
            return torch.baddbmm(self.bias, x, self.weight)
        small = torch.bmm(x, self.weight).unflatten(1, (-1, mix.shape[1])).flatten(0, 1)
        large = torch.matmul(mix.to(small.dtype), small)
        return large.view(x.shape[0], -1, large.shape[-1]) + self.bias.to(small.dtype)
