"""What JAA-Net, LGRNet, ALGRNet and MGRR-Net have in common.

A stem, an alignment net, one region per unit around centres that follow from the predicted
landmarks, refined regions, heads. A family says how regions are refined: `describe`.
"""

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aufleet_models.contract import NUM_GRADES, FaceModel, Prediction, Task, TrainingStatistics
from aufleet_models.layers.alignment import NUM_LANDMARKS, AlignmentNet
from aufleet_models.layers.centres import (
    PALSY_REGIONS,
    TOP_TO_BOTTOM,
    Region,
    RegionCentres,
    unit_regions,
)
from aufleet_models.layers.folded.fold import fold
from aufleet_models.layers.local_region import Stem
from aufleet_models.layers.losses import alignment_loss, balance_weights
from aufleet_models.layers.readout import Readout, ReadoutOptions


@dataclass(frozen=True, kw_only=True)
class RegionOptions(ReadoutOptions):
    """What every region network can be told."""

    alignment_weight: float = 0.5
    """Weight of the landmark loss."""
    start_at_mean_shape: bool = True
    """Let the first predicted landmarks be the mean of the training part."""
    palsy_regions: tuple[Region, ...] = PALSY_REGIONS
    """Palsy: each region is one or two centres (landmark, dx, dy); see `layers.centres`."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a family makes of a batch of frames.

    Attributes:
        landmarks: (B, 49, 2).
        maps: (B, n, S, S) in the order of the branches.
        regions: (n, B, C, 5, 5) refined regions.
        contexts: (B, k*C, 5, 5) for the integrated head.
        overview: (B, C, 5, 5) of the whole face.
    """

    landmarks: Tensor
    maps: Tensor
    regions: Tensor
    contexts: Tensor
    overview: Tensor


class RegionModel(FaceModel):
    """The base of the region networks.

    Args:
        options: The family's options.
        task: Units, or grades of palsy.
        units: The action units, in the order of the answer; None for palsy.
        width: Scale of every channel count.
        sorted_regions: Branches run from the top of the face to its chin.
    """

    # A rounded landmark moves a hard map by a whole pixel.
    exact_parts = ("stem", "alignment", "adaptive")

    balance: Tensor
    mean_shape: Tensor
    readout: Readout

    def __init__(
        self,
        options: RegionOptions,
        *,
        task: Task,
        units: Sequence[int] | None,
        width: float,
        sorted_regions: bool,
    ) -> None:
        super().__init__()
        self.task, self.region_options = task, options
        self.is_folded = False
        regions = options.palsy_regions if task == "palsy" else unit_regions(units or ())
        self.order = list(range(len(regions)))
        if units and sorted_regions:
            self.order.sort(key=lambda number: TOP_TO_BOTTOM.index(units[number]))
        num_outputs = NUM_GRADES if task == "palsy" else len(regions)
        self.register_buffer("balance", torch.ones(num_outputs))
        self.register_buffer("mean_shape", torch.zeros(NUM_LANDMARKS, 2))
        self.stem = Stem(width=width)
        self.alignment = AlignmentNet(self.stem.out_channels, width=width)
        self.centres = RegionCentres([regions[number] for number in self.order])

    @abstractmethod
    def describe(self, frames: Tensor) -> Description:
        """Return landmarks, maps and refined regions of frames (B, 3, 176, 176)."""

    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the prediction; landmarks come from the network, given ones are not used."""
        seen = self.describe(frames)
        prediction = self.readout(seen.regions, seen.contexts, seen.overview)
        maps = seen.maps[:, self.readout.inverse]
        return replace(prediction, landmarks=seen.landmarks, maps=maps)

    def loss(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each head, "alignment" and their weighted sum "total"."""
        assert prediction.landmarks is not None
        losses = self.readout.losses(prediction, batch, weights=self.balance)
        alignment = alignment_loss(prediction.landmarks, batch["landmarks"])
        answers = torch.stack(list(losses.values())).sum()
        total = answers + self.region_options.alignment_weight * alignment
        return {**losses, "alignment": alignment, "total": total}

    @torch.no_grad()
    def use_statistics(self, statistics: TrainingStatistics) -> None:
        """Store balance weights and the mean shape, where the landmarks then start."""
        palsy = self.task == "palsy"
        rates = statistics.grade_rates if palsy else statistics.positive_rates
        if rates is not None:
            self.balance.copy_(balance_weights(rates.to(self.balance)))
        if statistics.mean_shape is not None:
            self.mean_shape.copy_(statistics.mean_shape)
            if self.region_options.start_at_mean_shape:
                self.alignment.start_from(self.mean_shape)

    @torch.no_grad()
    def fold_for_inference(self) -> "RegionModel":
        """Return an equal network with less arithmetic; see `layers.folded`."""
        folded = copy.deepcopy(self).eval()
        fold(folded)
        folded.is_folded = True
        return folded
