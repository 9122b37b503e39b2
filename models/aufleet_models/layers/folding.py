"""Layers multiplied into each other for inference, exactly: batch norms and linear pairs."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aufleet_models.layers.branches import BranchLinear


def fold_conv_norm(owner: nn.Module, conv: str, norm: str) -> None:
    """Replace a convolution and the batch norm behind it by one convolution with bias.

    Args:
        owner: The module that holds both, in evaluation mode.
        conv: Name of the convolution in it.
        norm: Name of the batch norm in it, which becomes the identity.
    """
    folded = folded_conv(owner.get_submodule(conv), owner.get_submodule(norm))
    setattr(owner, conv, folded)
    setattr(owner, norm, nn.Identity())


def folded_conv(conv: nn.Module, norm: nn.Module) -> Any:  # noqa: ANN401 - the kind of `conv`
    """Return one convolution with bias that equals a convolution and the batch norm behind it."""
    assert isinstance(conv, nn.Conv1d | nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv.eval(), norm.eval())


@torch.no_grad()
def fold_linear_pair(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """Return the one linear layer that equals second(first(x))."""
    folded = nn.Linear(first.in_features, second.out_features)
    folded.weight.copy_(second.weight @ first.weight)
    folded.bias.copy_(second(first.bias))
    return folded.to(first.weight)


@torch.no_grad()
def fold_branch_pair(first: BranchLinear, second: BranchLinear) -> BranchLinear:
    """Return the one layer of the same branches that equals second(first(x))."""
    num_branches, in_features, _ = first.weight.shape
    folded = BranchLinear(num_branches, in_features, second.weight.shape[2])
    folded.weight.copy_(first.weight @ second.weight)
    folded.bias.copy_(second(first.bias))
    return folded.to(first.weight)
