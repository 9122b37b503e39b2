"""From refined regions to an answer, and the loss of that answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aufleet_models.contract import NUM_GRADES, Prediction, Task
from aufleet_models.layers.alignment import NUM_CELLS
from aufleet_models.layers.heads import IntegratedHead, LocalHeads, mean_of_probabilities
from aufleet_models.layers.losses import (
    Dice,
    dice_loss,
    grade_cross_entropy,
    unit_cross_entropy,
)
from aufleet_models.layers.palsy_heads import PalsyHeads


@dataclass(frozen=True, kw_only=True)
class ReadoutOptions:
    """How a region network answers, and how the answer is judged."""

    dice: Dice | Literal["none"] = "sum"
    """Dice term beside the cross-entropy of units; "product" is the printed form of LGRNet."""
    local_head: bool = True
    """Units: one head per region."""
    integrated_head: bool = True
    """Units: one head for all. A palsy network always has its one head for grades."""
    answer: Literal["mean", "integrated"] = "mean"
    """Units, with both heads: the mean of their probabilities, or the integrated head's alone."""
    detach_mean: bool = False
    """Units: the integrated head trains nothing in front of the regions' mean, as in JAA-Net.
    Without local heads it does, as nothing else would train the regions."""
    palsy_head: Literal["mean", "each"] = "mean"
    """Palsy: "mean" averages the regions, "each" keeps them apart, so that asymmetry is seen."""
    side_head: bool = False
    """Palsy: also answer which side is affected."""
    region_head: bool = False
    """Palsy: also answer how impaired each region is."""


class Readout(nn.Module):
    """The heads of a region network.

    Args:
        options: What is answered and how it is judged.
        task: Units, or grades of palsy.
        order: For each branch the index of its unit or region in the answer.
        channels: Channels of a region's refined feature.
        num_contexts: Features of the same size that the integrated head sees beside the mean of
            the regions.
        width: Scale of the hidden layers.
    """

    inverse: Tensor

    def __init__(
        self,
        options: ReadoutOptions,
        *,
        task: Task,
        order: Sequence[int],
        channels: int,
        num_contexts: int = 1,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        num, features = len(order), (num_contexts + 1) * channels * NUM_CELLS
        self.options, self.task = options, task
        self.register_buffer("inverse", torch.tensor(order).argsort(), persistent=False)
        self.detach_mean = options.detach_mean and task == "au" and options.local_head
        self.palsy_heads = PalsyHeads(
            num * channels,
            task=task,
            side=options.side_head,
            regions=options.region_head,
            num_regions=num,
        )
        self.local = self.integrated = self.grades = None
        if task == "palsy":
            each = options.palsy_head == "each"
            self.grades = IntegratedHead(
                (num + 1) * channels if each else features,
                NUM_GRADES,
                per_state=False,
                activation=each,
                width=width,
            )
            return
        if not (options.local_head or options.integrated_head):
            raise ValueError("local_head and integrated_head are both off: keep one")
        if options.local_head:
            self.local = LocalHeads(num, channels * NUM_CELLS, width=width)
        if options.integrated_head:
            self.integrated = IntegratedHead(features, num, per_state=True, width=width)

    def forward(self, regions: Tensor, contexts: Tensor, overview: Tensor) -> Prediction:
        """Return the prediction, without landmarks and maps.

        Args:
            regions: (n, B, C, 5, 5) in the order of the branches.
            contexts: (B, num_contexts * C, 5, 5) for the integrated head.
            overview: (B, C, 5, 5) of the whole face, for the palsy head "each".
        """
        if self.grades is not None:
            return self._grade(self.grades, regions, contexts, overview)
        heads = {}
        if self.local is not None:
            heads["local"] = self.local(regions)[:, self.inverse]
        if self.integrated is not None:
            heads["integrated"] = self.integrated(self._mean(regions, contexts))
        logits = heads.get("integrated", heads.get("local"))
        assert logits is not None
        if self.options.answer == "mean" and len(heads) > 1:
            logits = mean_of_probabilities(heads["local"], heads["integrated"])
        return Prediction(logits=logits, probabilities=torch.sigmoid(logits), heads=heads)

    def _mean(self, regions: Tensor, contexts: Tensor) -> Tensor:
        mean = regions.mean(0)
        return torch.cat([contexts, mean.detach() if self.detach_mean else mean], 1)

    def _grade(
        self, head: nn.Module, regions: Tensor, contexts: Tensor, overview: Tensor
    ) -> Prediction:
        pooled = regions.mean((3, 4)).transpose(0, 1)[:, self.inverse].flatten(1)
        if self.options.palsy_head == "each":
            features = torch.cat([pooled, overview.mean((2, 3))], 1)
        else:
            features = self._mean(regions, contexts)
        logits = head(features).float()
        heads = self.palsy_heads(pooled)
        return PalsyHeads.answer(
            Prediction(logits=logits, probabilities=logits.softmax(1), heads=heads)
        )

    def losses(
        self, prediction: Prediction, batch: Mapping[str, Tensor], *, weights: Tensor
    ) -> dict[str, Tensor]:
        """Return each head's loss; their plain sum is what the papers minimise.

        Args:
            prediction: What `forward` returned.
            batch: "units" or "grade"; what `PalsyHeads.losses` takes, where it is known.
            weights: Balance weights of the units or grades.
        """
        if self.task == "au":
            units = batch["units"]
            return {
                name: self._unit_loss(logits, units, weights)
                for name, logits in prediction.heads.items()
            }
        grade = grade_cross_entropy(prediction.logits, batch["grade"], weights=weights)
        return {"grade": grade, **PalsyHeads.losses(prediction, batch)}

    def _unit_loss(self, logits: Tensor, units: Tensor, weights: Tensor) -> Tensor:
        loss = unit_cross_entropy(logits, units, weights=weights)
        if self.options.dice == "none":
            return loss
        return loss + dice_loss(logits, units, weights=weights, form=self.options.dice)
