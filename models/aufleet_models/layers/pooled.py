"""The readout of networks that end in one feature vector per frame, and its losses."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from aufleet_models.contract import (
    NUM_GRADES,
    FaceModel,
    Prediction,
    Task,
    TrainingStatistics,
)
from aufleet_models.layers.centres import unit_regions
from aufleet_models.layers.losses import (
    balance_weights,
    grade_cross_entropy,
    unit_cross_entropy,
)
from aufleet_models.layers.palsy_heads import PalsyHeads


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
