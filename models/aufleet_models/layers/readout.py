"""From refined regions to an answer, and the loss of that answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.contract import NOT_CODED, NUM_GRADES, Prediction, Task
from aufleet_models.layers.alignment import NUM_CELLS
from aufleet_models.layers.heads import IntegratedHead, LocalHeads, mean_of_probabilities
from aufleet_models.layers.losses import (
    Dice,
    dice_loss,
    grade_cross_entropy,
    unit_cross_entropy,
)

PalsyHead = Literal["mean", "each"]
NUM_SIDES = 3
"""None, patient's left, patient's right."""


@dataclass(frozen=True, kw_only=True)
class ReadoutOptions:
    """How a region network answers, and how the answer is judged."""

    dice: Dice | Literal["none"] = "sum"
    """Dice term beside the cross-entropy of units; "product" is the printed form of LGRNet."""
    palsy_head: PalsyHead = "mean"
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
        local: Units: one head per region.
        integrated: Units: one head for all. A palsy network always has its one head for grades.
        answer: Which head's probability is the answer, or the mean of both.
        detach_mean: The integrated head trains nothing in front of the regions' mean (JAA-Net).
        width: Scale of the hidden layers.
    """

    inverse: Tensor

    def __init__(  # noqa: PLR0913 - one keyword per published difference between the networks
        self,
        options: ReadoutOptions,
        *,
        task: Task,
        order: Sequence[int],
        channels: int,
        num_contexts: int = 1,
        local: bool = True,
        integrated: bool = True,
        answer: Literal["mean", "integrated"] = "mean",
        detach_mean: bool = False,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if task == "au" and (options.side_head or options.region_head):
            raise ValueError("side_head and region_head belong to task palsy")
        if task == "au" and not (local or integrated):
            raise ValueError("local_head and integrated_head are both off: keep one")
        self.options, self.task, self.answer = options, task, answer
        num = len(order)
        self.register_buffer("inverse", torch.tensor(order).argsort(), persistent=False)
        # Without local heads nothing else would train the regions.
        self.detach_mean = detach_mean and task == "au" and local
        features = (num_contexts + 1) * channels * NUM_CELLS
        self.local = self.integrated = self.grades = None
        if task == "palsy":
            if options.palsy_head == "each":
                features = (num + 1) * channels
            self.grades = IntegratedHead(
                features,
                NUM_GRADES,
                per_state=False,
                activation=options.palsy_head == "each",
                width=width,
            )
        else:
            if local:
                self.local = LocalHeads(num, channels * NUM_CELLS, width=width)
            if integrated:
                self.integrated = IntegratedHead(features, num, per_state=True, width=width)
        self.side = nn.Linear(num * channels, NUM_SIDES) if options.side_head else None
        self.impairment = nn.Linear(num * channels, num) if options.region_head else None

    def forward(self, regions: Tensor, contexts: Tensor, overview: Tensor) -> Prediction:
        """Return the prediction, without landmarks and maps.

        Args:
            regions: (n, B, C, 5, 5) in the order of the branches.
            contexts: (B, num_contexts * C, 5, 5) for the integrated head.
            overview: (B, C, 5, 5) of the whole face, for the palsy head "each".
        """
        if self.grades is not None:
            return self._palsy(regions, contexts, overview)
        heads = {}
        if self.local is not None:
            heads["local"] = self.local(regions)[:, self.inverse]
        if self.integrated is not None:
            heads["integrated"] = self.integrated(self._mean(regions, contexts))
        logits = heads.get("integrated", heads.get("local"))
        assert logits is not None
        if self.answer == "mean" and len(heads) > 1:
            logits = mean_of_probabilities(heads["local"], heads["integrated"])
        return Prediction(logits=logits, probabilities=torch.sigmoid(logits), heads=heads)

    def _mean(self, regions: Tensor, contexts: Tensor) -> Tensor:
        mean = regions.mean(0)
        return torch.cat([contexts, mean.detach() if self.detach_mean else mean], 1)

    def _palsy(self, regions: Tensor, contexts: Tensor, overview: Tensor) -> Prediction:
        assert self.grades is not None
        pooled = regions.mean((3, 4)).transpose(0, 1)[:, self.inverse].flatten(1)
        if self.options.palsy_head == "each":
            features = torch.cat([pooled, overview.mean((2, 3))], 1)
        else:
            features = self._mean(regions, contexts)
        logits = self.grades(features).float()
        heads = {}
        if self.side is not None:
            heads["side"] = self.side(pooled).float()
        if self.impairment is not None:
            heads["regions"] = self.impairment(pooled).float()
        return Prediction(
            logits=logits,
            probabilities=logits.softmax(1),
            side=heads["side"].softmax(1) if "side" in heads else None,
            regions=heads["regions"].sigmoid() if "regions" in heads else None,
            heads=heads,
        )

    def losses(
        self, prediction: Prediction, batch: Mapping[str, Tensor], *, weights: Tensor
    ) -> dict[str, Tensor]:
        """Return each head's loss; their plain sum is what the papers minimise.

        Args:
            prediction: What `forward` returned.
            batch: "units" or "grade"; where known "side" (B,) with 0 to 2 or 9 and "regions"
                (B, R) in [0, 1] or 9.
            weights: Balance weights of the units or grades.
        """
        if self.task == "au":
            units = batch["units"]
            return {
                name: self._unit_loss(logits, units, weights)
                for name, logits in prediction.heads.items()
            }
        losses = {"grade": grade_cross_entropy(prediction.logits, batch["grade"], weights=weights)}
        if "side" in prediction.heads and "side" in batch:
            sides = prediction.heads["side"]
            losses["side"] = grade_cross_entropy(
                sides, batch["side"], weights=torch.ones_like(sides[0])
            )
        if "regions" in prediction.heads and "regions" in batch:
            losses["regions"] = _impairment_loss(prediction.heads["regions"], batch["regions"])
        return losses

    def _unit_loss(self, logits: Tensor, units: Tensor, weights: Tensor) -> Tensor:
        loss = unit_cross_entropy(logits, units, weights=weights)
        if self.options.dice == "none":
            return loss
        return loss + dice_loss(logits, units, weights=weights, form=self.options.dice)


def _impairment_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy over the region values that are known."""
    known = truth != NOT_CODED
    targets = torch.where(known, truth, 0.0).to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)
