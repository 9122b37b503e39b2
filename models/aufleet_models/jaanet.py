"""JAA-Net, journal version (Shao et al., 2021): joint landmarks and attention per unit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aufleet_models.contract import Task
from aufleet_models.layers.fusion import MAP_SIZE
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.maps import hard_maps
from aufleet_models.layers.readout import Readout
from aufleet_models.layers.refinement import MARGIN, AttentionRefinement
from aufleet_models.region_model import Description, RegionModel, RegionOptions


@dataclass(frozen=True, kw_only=True)
class JAANetOptions(RegionOptions):
    """The journal version, and the parts that set other versions apart."""

    refinement: bool = True
    """Redraw the maps by convolutions; otherwise they are drawn at 44 px and used as they are."""
    local_head: bool = True
    """Units: one head per unit, trained beside the answer; the conference version has none."""
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
        super().__init__(options, task=task, units=units, width=width, sorted_regions=False)
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
            local=options.local_head,
            answer="integrated",
            detach_mean=True,
            width=width,
        )

    def describe(self, frames: Tensor) -> Description:
        """Return landmarks, maps and refined regions of frames (B, 3, 176, 176)."""
        feature = self.stem(frames)
        aligned, landmarks = self.alignment(feature)
        maps = self._maps(landmarks)
        regions = feature * maps.to(feature.dtype).transpose(0, 1).unsqueeze(2)
        overview = self.overview(feature)
        return Description(
            landmarks=landmarks,
            maps=maps,
            regions=self.local.branches(regions),
            contexts=torch.cat([aligned, overview], 1),
            overview=overview,
        )

    def _maps(self, landmarks: Tensor) -> Tensor:
        centres = self.centres(landmarks)
        if self.refinement is None:
            return hard_maps(centres, size=MAP_SIZE)
        # As published the larger map spans the whole frame and is then trimmed, so that it is
        # 3.4 pixels off at the border of the feature.
        return self.refinement(hard_maps(centres, size=MAP_SIZE + MARGIN))
