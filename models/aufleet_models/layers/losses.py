"""Losses of the region networks, each over a batch; labels 9 are left out.

Sources: JAA-Net, LGRNet, ALGRNet; where a printed form is broken the corrected one is the default.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from aufleet_models.contract import NOT_CODED
from aufleet_models.layers.checks import require_finite

Dice = Literal["sum", "product", "batch"]
DICE_SMOOTHING = 1.0
LEFT_EYE = slice(19, 25)
RIGHT_EYE = slice(25, 31)


def balance_weights(rates: Tensor) -> Tensor:
    """Return weights (n,) proportional to 1 / rate that sum to n.

    A class that never occurs gets the weight of the rarest one that does.
    """
    seen = rates > 0
    if not seen.any():
        return torch.ones_like(rates)
    inverse = 1 / torch.where(seen, rates, rates[seen].min())
    return inverse * (len(rates) / inverse.sum())


def unit_cross_entropy(logits: Tensor, units: Tensor, *, weights: Tensor) -> Tensor:
    """Return (1/n) sum_i w_i * mean over coded frames of the cross-entropy of unit i.

    Args:
        logits: (B, n) log-odds.
        units: (B, n) with 0, 1 or 9.
        weights: (n,) balance weights.
    """
    coded = units != NOT_CODED
    targets = (units == 1).to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return _weighted_mean(losses, coded, weights)


def dice_loss(logits: Tensor, units: Tensor, *, weights: Tensor, form: Dice = "sum") -> Tensor:
    """Return (1/n) sum_i w_i * Dice_i.

    Args:
        logits: (B, n) log-odds.
        units: (B, n) with 0, 1 or 9.
        weights: (n,) balance weights.
        form: "sum" has p^2 + q^2 in the denominator; "product" has p^2 * q^2, as printed in
            LGRNet and ALGRNet, which never pushes a negative down; "batch" is the PyTorch code of
            JAA-Net: one ratio D over the batch and 1 - D / B.
    """
    coded = units != NOT_CODED
    truth = (units == 1).to(logits.dtype)
    guess = torch.sigmoid(logits)
    both = 2 * truth * guess
    if form == "batch":
        both, squares = both * coded, (truth**2 + guess**2) * coded
        ratio = (both.sum(0) + DICE_SMOOTHING) / (squares.sum(0) + DICE_SMOOTHING)
        return ((1 - ratio / len(logits)) * coded.any(0) * weights).mean()
    size = truth**2 + guess**2 if form == "sum" else truth**2 * guess**2
    losses = 1 - (both + DICE_SMOOTHING) / (size + DICE_SMOOTHING)
    return _weighted_mean(losses, coded, weights)


def _weighted_mean(losses: Tensor, coded: Tensor, weights: Tensor) -> Tensor:
    """Mean over the coded frames of each unit, then the weighted mean over all units."""
    per_unit = (losses * coded).sum(0) / coded.sum(0).clamp_min(1)
    return (per_unit * weights).mean()


def grade_cross_entropy(logits: Tensor, grades: Tensor, *, weights: Tensor) -> Tensor:
    """Return the mean over graded frames of -w_q log q.

    Args:
        logits: (B, 4) unnormalised log-probabilities.
        grades: (B,) with 0 to 3, or 9.
        weights: (4,) balance weights.
    """
    graded = grades != NOT_CODED
    classes = torch.where(graded, grades, 0)
    losses = functional.cross_entropy(logits, classes, reduction="none") * weights[classes]
    return (losses * graded).sum() / graded.sum().clamp_min(1)


def refinement_loss(maps: Tensor, drawn: Tensor) -> Tensor:
    """Return how far refined maps are from the first ones: JAA-Net's, conference version.

    The cross-entropy, averaged over pixels and frames and summed over the units.

    Args:
        maps: (B, n, S, S) refined maps in [0, 1].
        drawn: (B, n, D, D) first maps, brought to S x S by their nearest pixels.
    """
    targets = functional.interpolate(drawn, maps.shape[-2:], mode="nearest")
    # The cross-entropy of probabilities is refused under autocast.
    with torch.autocast(maps.device.type, enabled=False):
        losses = functional.binary_cross_entropy(
            maps.float(), targets.detach().float(), reduction="none"
        )
    return losses.mean((0, 2, 3)).sum()


def alignment_loss(landmarks: Tensor, truth: Tensor) -> Tensor:
    """Return the batch mean of sum_k |p_k - t_k|^2 / (2 d^2), d between the true eye centres.

    Args:
        landmarks: (B, 49, 2) in pixels.
        truth: (B, 49, 2) in the same pixels.

    Raises:
        ValueError: A true landmark is not finite, or the eyes of a face fall together.
    """
    eyes = truth[:, LEFT_EYE].mean(1) - truth[:, RIGHT_EYE].mean(1)
    squared_distance = eyes.square().sum(1)
    # Eyes that fall together have an infinite inverse, eyes without bound an infinite distance:
    # one check for all.
    numbers = [truth.flatten(1), squared_distance[:, None], 1 / squared_distance[:, None]]
    require_finite(torch.cat(numbers, 1), what="true landmarks")
    squares = (landmarks - truth).square().sum((1, 2))
    return (squares / (2 * squared_distance)).mean()
