"""LGRNet (Ge et al., 2021) and ALGRNet (2022): local regions that are read from brow to chin.

ALGRNet is LGRNet with adaptive regions and an integrated head; each row of its ablation table is
a setting of `ALGRNetOptions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aufleet_models.contract import Task
from aufleet_models.layers.adaptive import AdaptiveRegions, Offsets
from aufleet_models.layers.alignment import NUM_CELLS
from aufleet_models.layers.fusion import MAP_SIZE, GlobalFusion, GlobalSource
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.maps import hard_maps, soft_maps, straight_through_maps
from aufleet_models.layers.precision import autocast_like
from aufleet_models.layers.readout import Readout
from aufleet_models.layers.skip_lstm import Gate, SkipBiLSTM
from aufleet_models.region_model import Description, RegionModel, RegionOptions


@dataclass(frozen=True, kw_only=True)
class ALGRNetOptions(RegionOptions):
    """The published network, and each part that an ablation takes away."""

    adaptive: bool = True
    """Regions move and change size with the face; otherwise their boxes have ratio 0.14."""
    offsets: Offsets = "mirrored"
    """Two numbers per region that mirror between its centres, or four free ones."""
    map_edges: Literal["soft", "straight_through"] = "soft"
    """Adaptive maps: soft edges, or hard ones with the gradients of the soft ones."""
    skip_bilstm: Literal["none", "plain", "skip"] = "skip"
    """How regions see each other: not, through their neighbour, or through gates to all."""
    skip_gate: Gate = "channel"
    """A gate per channel, or one number per pair of regions."""
    fusion: bool = True
    """Fuse each region with the global feature before it is refined."""
    global_source: GlobalSource = "pooled"
    """The global feature: an extractor's 5 x 5, the same without pooling, or the stem's."""
    map_pad: Literal[0, 1] = 0
    """Padding of the 1x1 convolutions: 1 as printed, which adds a border of biases."""
    integrated_global: bool = False
    """The integrated head also sees the global feature, as in JAA-Net."""


@dataclass(frozen=True, kw_only=True)
class LGRNetOptions(ALGRNetOptions):
    """ALGRNet's options with LGRNet's settings."""

    adaptive: bool = False
    """LGRNet's boxes have a fixed size."""
    integrated_head: bool = False
    """LGRNet answers with its local heads."""


class ALGRNet(RegionModel):
    """Adaptive local-global relational network.

    27,436,502 parameters for the 12 units of BP4D, 22,999,226 for the 8 of DISFA.
    """

    def __init__(
        self,
        options: ALGRNetOptions,
        *,
        task: Task,
        units: Sequence[int] | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__(options, task=task, units=units, width=width, sorted_regions=True)
        self.options = options
        num, channels = len(self.order), self.stem.out_channels
        features = self.alignment.out_channels
        self.adaptive = self.lstm = self.overview = self.fusion = None
        if options.adaptive:
            self.adaptive = AdaptiveRegions(
                num, features * NUM_CELLS, offsets=options.offsets, width=width
            )
        if options.skip_bilstm != "none":
            self.lstm = SkipBiLSTM(
                num,
                channels,
                skip=options.skip_bilstm == "skip",
                gate=options.skip_gate,
                map_pad=options.map_pad,
            )
        if self._needs_overview(options):
            self.overview = HighLevelExtractor(channels, width=width)
        if options.fusion:
            self.fusion = _fusion(num, channels, features, options)
        self.refining = HighLevelExtractor(channels, width=width, num_branches=num)
        self.readout = Readout(
            options,
            task=task,
            order=self.order,
            channels=features,
            num_contexts=2 if options.integrated_global else 1,
            width=width,
        )

    @staticmethod
    def _needs_overview(options: ALGRNetOptions) -> bool:
        fused = options.fusion and options.global_source != "stem"
        return fused or options.integrated_global

    def describe(self, frames: Tensor) -> Description:
        """Return landmarks, maps and refined regions of frames (B, 3, 176, 176)."""
        feature = self.stem(frames)
        aligned, landmarks = self.alignment(feature)
        maps, centres, ratios = self._maps(landmarks, aligned)
        overview = aligned if self.overview is None else self.overview(feature)
        seen = autocast_like(feature)
        by_region = maps.to(seen.dtype).transpose(0, 1)
        if self.lstm is None:
            regions = seen * by_region.unsqueeze(2)
        else:
            regions = self.lstm(seen, by_region, centres, ratios)
        if self.fusion is not None:
            regions = self.fusion(regions, self._context(feature, overview))
        contexts = aligned
        if self.options.integrated_global:
            contexts = torch.cat([aligned, overview], 1)
        return Description(
            landmarks=landmarks,
            maps=maps,
            regions=self.refining.branches(regions),
            contexts=contexts,
            overview=overview,
        )

    def _maps(self, landmarks: Tensor, aligned: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the maps, their centres and, where they are adaptive, the ratios."""
        if self.adaptive is None:
            centres = self.centres(landmarks)
            return hard_maps(centres, size=MAP_SIZE), centres, None
        moves, ratios = self.adaptive(aligned)
        centres = self.centres(landmarks, moves)
        draw = soft_maps if self.options.map_edges == "soft" else straight_through_maps
        return draw(centres, ratios, size=MAP_SIZE), centres, ratios

    def _context(self, feature: Tensor, overview: Tensor) -> Tensor:
        if self.options.global_source == "stem":
            return feature
        if self.options.global_source == "unpooled":
            assert self.overview is not None
            return self.overview(feature, pooled=False)
        return overview


def _fusion(num: int, channels: int, features: int, options: ALGRNetOptions) -> nn.Module:
    pooled = options.global_source == "pooled"
    return GlobalFusion(
        num,
        channels,
        global_channels=channels if options.global_source == "stem" else features,
        global_size=5 if pooled else MAP_SIZE,
        map_pad=options.map_pad,
    )
