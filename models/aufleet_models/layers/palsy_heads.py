"""The two heads that any palsy network can have beside its grades, and their losses."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.contract import NOT_CODED, Prediction, Task
from aufleet_models.layers.centres import PALSY_REGIONS
from aufleet_models.layers.losses import grade_cross_entropy

NUM_SIDES = 3
"""None, patient's left, patient's right."""


class PalsyHeads(nn.Module):
    """On request: which side of the face is affected, and how impaired each region is.

    Args:
        num_features: Size of the pooled feature.
        task: Only palsy networks may have these heads.
        side: Answer the side.
        regions: Answer the regions.
        num_regions: R.
    """

    def __init__(
        self,
        num_features: int,
        *,
        task: Task,
        side: bool,
        regions: bool,
        num_regions: int = len(PALSY_REGIONS),
    ) -> None:
        super().__init__()
        if task == "au" and (side or regions):
            raise ValueError("side_head and region_head belong to task palsy")
        self.parts = nn.ModuleDict()
        if side:
            self.parts["side"] = nn.Linear(num_features, NUM_SIDES)
        if regions:
            self.parts["regions"] = nn.Linear(num_features, num_regions)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Return "side" (B, 3) and "regions" (B, R) unnormalised, those that exist."""
        return {name: part(features).float() for name, part in self.parts.items()}

    @staticmethod
    def answer(prediction: Prediction) -> Prediction:
        """Return the prediction with side and regions from its heads, where it has them."""
        heads = prediction.heads
        side = heads["side"].softmax(dim=1) if "side" in heads else None
        regions = heads["regions"].sigmoid() if "regions" in heads else None
        return replace(prediction, side=side, regions=regions)

    @staticmethod
    def losses(prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the heads' losses, each only where the batch has labels for it.

        Args:
            prediction: Of a network that has some of the heads, or none.
            batch: "side" (B,) with 0 to 2, or 9; "regions" (B, R) in [0, 1], or 9.
        """
        heads, losses = prediction.heads, {}
        if "side" in heads and "side" in batch:
            even = torch.ones_like(heads["side"][0])
            losses["side"] = grade_cross_entropy(heads["side"], batch["side"], weights=even)
        if "regions" in heads and "regions" in batch:
            losses["regions"] = _region_loss(heads["regions"], batch["regions"])
        return losses


def _region_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy over the region values that are known."""
    known = truth != NOT_CODED
    targets = torch.where(known, truth, 0.0).to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)
