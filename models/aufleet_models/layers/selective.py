"""Selective learning: weights that balance the labels of each unit in a batch (LP-Net)."""

import torch
from torch import Tensor


def selective_weights(
    labels: Tensor, *, target: float, cap: float, generator: torch.Generator | None = None
) -> Tensor:
    """Return a weight for each label so that both classes of a unit count alike.

    With N coded labels, a class of fewer than `target * N` gets `target * N / (its size)`, at most
    `cap`, and of the other class ceil(target * N) labels drawn at random keep weight 1. A unit
    whose classes both reach the target keeps all its labels.

    Args:
        labels: (B, U) with 0 and 1; anything else is not coded and gets 0.
        target: Share of the labels that the smaller class shall weigh, at most one half.
        cap: Largest weight.
        generator: Source of the draw, on the device of the labels; None is torch's own.

    Returns:
        (B, U) weights, float32.
    """
    classes = torch.stack([labels == 0, labels == 1])
    sizes = classes.sum(dim=1)
    wanted = target * sizes.sum(dim=0)
    scarce = sizes < wanted
    raised = (wanted / sizes.clamp(min=1)).clamp(max=cap)

    draw = torch.rand(labels.shape, generator=generator, device=labels.device)
    # The place of each label among those of its own class; the rest of the column lies behind.
    place = draw.where(classes, 2.0).argsort(dim=1).argsort(dim=1)
    kept = (place < wanted.ceil()).float()

    weights = torch.ones_like(draw).expand_as(kept)
    weights = torch.where(scarce.flip(0)[:, None], kept, weights)
    weights = torch.where(scarce[:, None], raised[:, None], weights)
    return (weights * classes).sum(dim=0)
