"""JAA-Net, journal version (Shao et al., 2021): joint landmarks and attention per unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from aufleet_models.contract import Prediction, Task
from aufleet_models.layers.fusion import MAP_SIZE
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.losses import refinement_loss
from aufleet_models.layers.maps import hard_maps
from aufleet_models.layers.precision import autocast_like
from aufleet_models.layers.readout import Readout
from aufleet_models.layers.refinement import MARGIN, AttentionRefinement
from aufleet_models.region_model import Description, RegionModel, RegionOptions


@dataclass(frozen=True, kw_only=True)
class JAANetOptions(RegionOptions):
    """The journal version, and the parts that set other versions apart.

    The conference version (Shao et al., 2018) is `local_head` off and `refinement_weight` 0.0001;
    it also trains `refinement` with twice the learning rate.
    """

    refinement: bool = True
    """Redraw the maps by convolutions; otherwise they are drawn at 44 px and used as they are."""
    refinement_weight: float = 0.0
    """Weight of the loss that keeps a refined map near the first one; 0.0001 as in the conference
    version."""
    answer: Literal["mean", "integrated"] = "integrated"
    """The local heads only train."""
    detach_mean: bool = True
    """The integrated head does not train the regions, where local heads do."""
    parity: bool = False
    """Number for number with the authors' PyTorch code: Dice over the batch, landmarks that
    start at (0, 0)."""


class JAANet(RegionModel):
    """Joint facial action unit detection and face alignment.

    25,237,182 parameters for the 12 units of BP4D, 20,653,226 for the 8 of DISFA.
    """

    def __init__(
        self,
        options: JAANetOptions,
        *,
        task: Task,
        units: Sequence[int] | None = None,
        width: float = 1.0,
    ) -> None:
        if options.parity:
            options = replace(options, dice="batch", start_at_mean_shape=False)
        if options.refinement_weight and not options.refinement:
            raise ValueError("refinement_weight judges refined maps: set refinement, or 0")
        super().__init__(options, task=task, units=units, width=width, sorted_regions=False)
        self.options = options
        num, channels = len(self.order), self.stem.out_channels
        self.refinement = AttentionRefinement(num, width=width) if options.refinement else None
        self.local = HighLevelExtractor(channels, width=width, num_branches=num)
        self.overview = HighLevelExtractor(channels, width=width)
        self.readout = Readout(
            options,
            task=task,
            order=self.order,
            channels=self.alignment.out_channels,
            num_contexts=2,
            width=width,
        )

    def describe(self, frames: Tensor) -> Description:
        """Return landmarks, maps and refined regions of frames (B, 3, 176, 176)."""
        feature = self.stem(frames)
        aligned, landmarks = self.alignment(feature)
        maps = self._maps(landmarks)
        seen = autocast_like(feature)
        overview = self.overview(feature)
        return Description(
            landmarks=landmarks,
            maps=maps,
            regions=self.local.regions(seen, maps.to(seen.dtype).transpose(0, 1)),
            contexts=torch.cat([aligned, overview], 1),
            overview=overview,
        )

    def loss(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what every region network does and, where it has a weight, "refinement"."""
        losses = super().loss(prediction, batch)
        weight = self.options.refinement_weight
        if not weight:
            return losses
        assert prediction.maps is not None
        assert prediction.landmarks is not None
        # Drawn again: they follow from the landmarks, and only this loss needs them.
        drawn = self._drawn(self.centres(prediction.landmarks))
        refinement = refinement_loss(prediction.maps, drawn)
        total = losses["total"] + weight * refinement
        return {**losses, "refinement": refinement, "total": total}

    def _maps(self, landmarks: Tensor) -> Tensor:
        centres = self.centres(landmarks)
        drawn = self._drawn(centres)
        return drawn if self.refinement is None else self.refinement(drawn, centres)

    def _drawn(self, centres: Tensor) -> Tensor:
        # As published the larger map spans the whole frame and is then trimmed, so that it is
        # 3.4 pixels off at the border of the feature.
        size = MAP_SIZE if self.refinement is None else MAP_SIZE + MARGIN
        return hard_maps(centres, size=size)
