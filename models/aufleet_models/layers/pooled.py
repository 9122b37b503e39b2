"""The readout of networks that end in one feature vector per frame, and its losses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.contract import (
    NOT_CODED,
    NUM_GRADES,
    FaceModel,
    Prediction,
    Task,
    TrainingStatistics,
)
from aufleet_models.layers.centres import PALSY_REGIONS, unit_regions
from aufleet_models.layers.losses import (
    balance_weights,
    grade_cross_entropy,
    unit_cross_entropy,
)

NUM_SIDES = 3
"""None, patient's left, patient's right."""


class PooledModel(FaceModel):
    """A network without regions: units or grades, and the palsy heads, from pooled features.

    Attributes:
        num_outputs: Units, or the four grades.
        label_weights: (num_outputs,) balance weights; ones until `use_statistics`.
    """

    label_weights: Tensor

    def __init__(self, *, task: Task, units: Sequence[int] | None) -> None:
        super().__init__()
        if task == "au":
            self.num_outputs = len(unit_regions(tuple(units or ())))
        elif units:
            raise ValueError("a palsy network has no units: leave units out")
        else:
            self.num_outputs = NUM_GRADES
        self.task = task
        self.register_buffer("label_weights", torch.ones(self.num_outputs))

    @torch.no_grad()
    def use_statistics(self, statistics: TrainingStatistics) -> None:
        """Weigh rare units, or grades, up: proportional to 1 / rate."""
        au = self.task == "au"
        rates = statistics.positive_rates if au else statistics.grade_rates
        if rates is not None:
            self.label_weights.copy_(balance_weights(rates))

    def predict(self, logits: Tensor, heads: Mapping[str, Tensor]) -> Prediction:
        """Return the prediction for logits (B, num_outputs) and those of `PalsyHeads`."""
        logits = logits.float()
        probabilities = logits.sigmoid() if self.task == "au" else logits.softmax(dim=1)
        return PalsyHeads.answer(
            Prediction(logits=logits, probabilities=probabilities, heads=heads)
        )

    def label_loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the balanced cross-entropy of the units or of the grades."""
        if self.task == "au":
            return unit_cross_entropy(logits, batch["units"], weights=self.label_weights)
        return grade_cross_entropy(logits, batch["grade"], weights=self.label_weights)

    def loss(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the label loss, those of the palsy heads, and their sum."""
        parts = {"label": self.label_loss(prediction.logits, batch)}
        parts |= PalsyHeads.losses(prediction, batch)
        return parts | {"total": torch.stack(list(parts.values())).sum()}


class PalsyHeads(nn.Module):
    """On request: which side of the face is affected, and how impaired each region is.

    Args:
        num_features: Size of the pooled feature.
        task: Only palsy networks may have these heads.
        side: Answer the side.
        regions: Answer the regions.
    """

    def __init__(self, num_features: int, *, task: Task, side: bool, regions: bool) -> None:
        super().__init__()
        if task == "au" and (side or regions):
            raise ValueError("side_head and region_head belong to task palsy")
        self.parts = nn.ModuleDict()
        if side:
            self.parts["side"] = nn.Linear(num_features, NUM_SIDES)
        if regions:
            self.parts["regions"] = nn.Linear(num_features, len(PALSY_REGIONS))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Return "side" (B, 3) and "regions" (B, 12) unnormalised, those that exist."""
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
            batch: "side" (B,) with 0 to 2, or 9; "regions" (B, 12) in [0, 1], or 9.
        """
        heads, losses = prediction.heads, {}
        if "side" in heads and "side" in batch:
            even = torch.ones_like(heads["side"][0])
            losses["side"] = grade_cross_entropy(heads["side"], batch["side"], weights=even)
        if "regions" in heads and "regions" in batch:
            losses["regions"] = _region_loss(heads["regions"], batch["regions"])
        return losses


def _region_loss(logits: Tensor, truth: Tensor) -> Tensor:
    known = truth != NOT_CODED
    targets = torch.where(known, truth, 0.0).to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)
