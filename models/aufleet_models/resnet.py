"""ResNet-18, -34 and -50 (He et al. 2016): the baselines that see the face as a whole."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aufleet_models.contract import Prediction, Task
from aufleet_models.layers.palsy_heads import PalsyHeads
from aufleet_models.layers.pooled import PooledModel
from aufleet_models.layers.residual import Depth, ResidualTrunk


@dataclass(frozen=True, kw_only=True)
class ResNet18Options:
    """What a ResNet can be told."""

    depth: Depth = 18
    """Layers with weights: 18, 34 or 50."""
    frame_size: int = 176
    """Side of the crop in pixels; the paper does not say, ours is that of the other networks."""
    side_head: bool = False
    """Palsy: also answer which side is affected."""
    region_head: bool = False
    """Palsy: also answer how impaired each of the 12 regions is."""


@dataclass(frozen=True, kw_only=True)
class ResNet50Options(ResNet18Options):
    """The same for 50 layers."""

    depth: Depth = 50
    """Layers with weights: 18, 34 or 50."""


class ResNet(PooledModel):
    """Trunk, average over the map, one linear layer.

    With four grades 11,178,564 (18), 21,286,724 (34) or 23,516,228 (50) parameters.
    """

    def __init__(
        self,
        options: ResNet18Options,
        *,
        task: Task,
        units: Sequence[int] | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__(task=task, units=units)
        self.options = options
        self.stem = ResidualTrunk(options.depth, width=width)
        self.classifier = nn.Linear(self.stem.out_channels, self.num_outputs)
        self.palsy_heads = PalsyHeads(
            self.stem.out_channels,
            task=task,
            side=options.side_head,
            regions=options.region_head,
        )

    @property
    def frame_size(self) -> int:
        """Side of the square crop, in pixels."""
        return self.options.frame_size

    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the prediction; landmarks are not used.

        Args:
            frames: (B, 3, S, S) in [-1, 1].
            landmarks: Ignored.
        """
        features = self.stem(frames).mean(dim=(2, 3))
        return self.predict(self.classifier(features), self.palsy_heads(features))

    @torch.no_grad()
    def fold_for_inference(self) -> "ResNet":
        """Return an equal network whose batch norms are part of the convolutions."""
        folded = copy.deepcopy(self).eval()
        folded.stem.fold()
        return folded
