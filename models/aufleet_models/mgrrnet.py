"""MGRR-Net (Ge et al. 2022): region graphs and whole-face attention, fused layer by layer.

Shapes: B batch, R regions, C channels, maps of 44 x 44.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aufleet_models.contract import Task, TrainingStatistics
from aufleet_models.layers.centres import PALSY_REGIONS
from aufleet_models.layers.folded.shares import joined_regions, shares
from aufleet_models.layers.fusion import MAP_SIZE, GlobalFusion
from aufleet_models.layers.graph import (
    GlobalLevel,
    RegionGraph,
    neighbour_adjacency,
    prior_adjacency,
    random_adjacency,
    uniform_adjacency,
)
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.maps import hard_maps
from aufleet_models.layers.precision import autocast_like
from aufleet_models.layers.readout import Readout
from aufleet_models.layers.scaling import scaled
from aufleet_models.region_model import Description, RegionModel, RegionOptions

LEVELS = ("channel", "pixel", "original")
"""In the order in which they are fused."""
HEAD_SIZE = 128


@dataclass(frozen=True, kw_only=True)
class MGRRNetOptions(RegionOptions):
    """The published network, and each part that an ablation takes away."""

    dice: Literal["sum", "product", "batch", "none"] = "none"
    """Dice term beside the cross-entropy of units; the paper has none."""
    layers: int = 2
    """Relational reasoning layers; 0 is the baseline of the paper's table."""
    region_graph: Literal["learned", "fixed", "none"] = "learned"
    """Relations between regions: trained from their first values, kept at them, or left out."""
    graph_init: Literal["auto", "prior", "random", "uniform", "adjacency"] = "auto"
    """First relations: how often units agree, at random, all alike, or palsy regions with their
    neighbours. "auto" is "prior" for units and "uniform" for palsy."""
    graph_diagonal: bool = False
    """Keep the ones on the diagonal of the prior; the layer adds the region itself anyway."""
    global_levels: tuple[str, ...] = ("original", "channel", "pixel")
    """What each region is fused with: the stem's feature, its attention over channels, that over
    pixels; none of them leaves the fusion out."""
    channel_stride: Literal[1, 2] = 2
    """Halve the map before the attention over channels; 1 as in one passage of the paper."""
    map_pad: Literal[0, 1] = 0
    """Padding of the last fusion's 1x1 convolutions: 1 adds a border of biases. The paper prints
    it for all, where sizes would no longer agree."""


class MGRRNet(RegionModel):
    """Multi-level graph relational reasoning network.

    26,834,458 parameters for the 12 units of BP4D, 22,385,770 for the 8 of DISFA.

    Attributes:
        prior: (R, R) the first values of the relation matrices, kept so that what was learned can
            be compared with them.
    """

    prior: Tensor

    def __init__(
        self,
        options: MGRRNetOptions,
        *,
        task: Task,
        units: Sequence[int] | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__(options, task=task, units=units, width=width, sorted_regions=False)
        _check(options)
        self.options = options
        num, features = len(self.order), self.alignment.out_channels
        self.layers = nn.ModuleList(
            ReasoningLayer(
                num,
                self.stem.out_channels,
                options=options,
                head_size=scaled(HEAD_SIZE, width),
                map_pad=options.map_pad if layer == options.layers - 1 else 0,
            )
            for layer in range(options.layers)
        )
        self.refining = HighLevelExtractor(self.stem.out_channels, width=width, num_branches=num)
        self.readout = Readout(
            options,
            task=task,
            order=self.order,
            channels=features,
            width=width,
        )
        self.register_buffer("prior", torch.zeros(num, num))
        self.graph_init = options.graph_init
        if self.graph_init == "auto":
            self.graph_init = "prior" if task == "au" else "uniform"
        self._start_graphs()

    def describe(self, frames: Tensor) -> Description:
        """Return landmarks, maps and refined regions of frames (B, 3, 176, 176)."""
        feature = self.stem(frames)
        aligned, landmarks = self.alignment(feature)
        maps = hard_maps(self.centres(landmarks), size=MAP_SIZE)
        seen = autocast_like(feature)
        regions = self._related(seen, maps.to(seen.dtype))
        return Description(
            landmarks=landmarks,
            maps=maps,
            regions=self.refining.branches(regions),
            contexts=aligned,
            overview=aligned,
        )

    def _related(self, feature: Tensor, maps: Tensor) -> Tensor:
        """Return what the layers make of the regions, (R, B, C, 44, 44) or 46 px."""
        faces = [layer.whole(feature) for layer in self.layers]  # pyright: ignore
        parts = []
        for share in shares(feature) if self.is_folded else [slice(None)]:
            regions = feature[share] * maps[share].transpose(0, 1).unsqueeze(2)
            for layer, face in zip(self.layers, faces, strict=True):
                regions = layer(regions, face[share])
            parts.append(regions)
        return joined_regions(parts)

    @torch.no_grad()
    def use_statistics(self, statistics: TrainingStatistics) -> None:
        """Store balance weights, the mean shape and, where it is wanted, the graph's prior."""
        super().use_statistics(statistics)
        if self.graph_init == "prior" and statistics.agreement is not None:
            self._set_graphs(
                prior_adjacency(statistics.agreement, diagonal=self.options.graph_diagonal)
            )

    def _start_graphs(self) -> None:
        num = len(self.order)
        if self.graph_init == "prior":
            if self.task == "palsy":
                raise ValueError(
                    "graph_init is prior, which counts units: palsy has random, uniform, adjacency"
                )
        elif self.graph_init == "adjacency":
            if self.task == "au" or self.region_options.palsy_regions != PALSY_REGIONS:
                raise ValueError("graph_init is adjacency, which knows the 12 palsy regions only")
            self._set_graphs(neighbour_adjacency(num))
        elif self.graph_init == "uniform":
            self._set_graphs(uniform_adjacency(num))
        else:
            self._set_graphs(random_adjacency(num))

    @torch.no_grad()
    def _set_graphs(self, adjacency: Tensor) -> None:
        self.prior.copy_(adjacency)
        for graph in self._graphs():
            graph.adjacency.copy_(adjacency)

    def _graphs(self) -> list[RegionGraph]:
        return [module for module in self.layers.modules() if isinstance(module, RegionGraph)]

    def relations(self) -> Tensor:
        """Return the relation matrices (K, R, R) as they are now; K is 0 without graphs.

        Row i says how much region i takes from each other region, in the order of the answer.
        """
        learned = [graph.adjacency.detach() for graph in self._graphs()]
        return torch.stack(learned) if learned else self.prior.new_zeros(0, *self.prior.shape)


class ReasoningLayer(nn.Module):
    """One layer: regions exchange by a graph, then each is fused with the whole face."""

    def __init__(
        self,
        num_regions: int,
        channels: int,
        *,
        options: MGRRNetOptions,
        head_size: int,
        map_pad: int,
    ) -> None:
        super().__init__()
        self.graph: nn.Module = nn.Identity()
        if options.region_graph != "none":
            self.graph = RegionGraph(num_regions, channels=channels)
            self.graph.adjacency.requires_grad_(options.region_graph == "learned")
        self.levels = nn.ModuleList(
            nn.Identity()
            if kind == "original"
            else GlobalLevel(
                kind,
                channels=channels,
                size=MAP_SIZE,
                stride=options.channel_stride if kind == "channel" else 2,
                head_size=head_size,
            )
            for kind in LEVELS
            if kind in options.global_levels
        )
        self.level_fusions = nn.ModuleList(_fusion(1, channels, map_pad=0) for _ in self.levels[1:])
        self.region_fusion = (
            _fusion(num_regions, channels, map_pad=map_pad) if self.levels else None
        )

    def whole(self, feature: Tensor) -> Tensor:
        """Return what regions are fused with, (B, C, 44, 44).

        Args:
            feature: (B, C, 44, 44) of the stem; without levels it is not used.
        """
        if self.region_fusion is None:
            return feature
        whole, *others = (level(feature) for level in self.levels)
        for fusion, other in zip(self.level_fusions, others, strict=True):
            whole = fusion(other.unsqueeze(0), whole).squeeze(0)
        return whole

    def forward(self, regions: Tensor, whole: Tensor) -> Tensor:
        """Map regions (R, B, C, 44, 44) to the same shape, 46 px with padding.

        Args:
            regions: (R, B, C, 44, 44).
            whole: (B, C, 44, 44) of the method `whole`.
        """
        regions = self.graph(regions)
        return regions if self.region_fusion is None else self.region_fusion(regions, whole)


def _fusion(num_regions: int, channels: int, *, map_pad: int) -> GlobalFusion:
    return GlobalFusion(
        num_regions,
        channels,
        global_channels=channels,
        global_size=MAP_SIZE,
        map_pad=map_pad,
    )


def _check(options: MGRRNetOptions) -> None:
    unknown = sorted(set(options.global_levels) - set(LEVELS))
    if unknown:
        raise ValueError(f"global_levels names {unknown[0]!r}: choose from {', '.join(LEVELS)}")
    if options.layers < 0:
        raise ValueError(f"layers is {options.layers}: 0 or more")
