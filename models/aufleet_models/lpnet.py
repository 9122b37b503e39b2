"""LP-Net (Niu et al. 2019): local relationships of face regions, regularised by the person's shape.

The paper trains in three steps: stem with a linear head, then L-Net, then P-Net. Each is a network
of its own here (`local_relations`, `person_specific`) whose weights start from the one before; the
parts keep their names: `stem`, `local`, `person`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.contract import NOT_CODED, Prediction, Task
from aufleet_models.layers.checks import require_finite
from aufleet_models.layers.palsy_heads import PalsyHeads
from aufleet_models.layers.pooled import PooledModel
from aufleet_models.layers.region_lstm import RegionLstms
from aufleet_models.layers.residual import Depth, ResidualTrunk
from aufleet_models.layers.scaling import scaled
from aufleet_models.layers.selective import selective_weights

PIXEL_MEAN = (0.5355, 0.4249, 0.3801)
PIXEL_STD = (0.2832, 0.2578, 0.2548)
"""Of RGB in [0, 1], in the first author's later code for the same pictures."""
EYES = {49: (slice(19, 25), slice(25, 31)), 68: (slice(36, 42), slice(42, 48))}
"""Number of points -> those of the left and of the right eye."""


@dataclass(frozen=True, kw_only=True)
class LPNetOptions:
    """The published network, and each part that an ablation takes away."""

    stem: Depth = 34
    """Layers of the residual trunk: 18, 34 or 50."""
    local_relations: bool = True
    """L-Net: an LSTM per unit reads the regions; otherwise a linear layer judges each alone."""
    hidden: int = 128
    """Hidden size of each LSTM; the paper does not say."""
    person_specific: bool = True
    """P-Net: the shape of the face shifts the answers; the network then needs landmarks."""
    num_points: Literal[49, 68] = 68
    """Landmarks that P-Net takes; 49 for data that has no more (a trial finds that out)."""
    orthogonality: Literal["cosine", "raw", "none"] = "cosine"
    """Loss between the features of face and shape: |cosine|, |product| as printed, or none."""
    orthogonality_weight: float = 1.0
    """Weight of that loss."""
    selective_learning: bool = True
    """Units: balance the classes within each batch; see `layers.selective`."""
    selective_target: float = 0.5
    """Share of a batch that the rarer class of a unit shall weigh, at most one half."""
    selective_cap: float = 10.0
    """Largest weight of a label."""
    frame_size: int = 176
    """Side of the crop that the data gives, in pixels. The paper cuts 224 of 240; our aligned
    frames have 200, of which every network sees 176."""
    input_size: int = 224
    """Side at which the stem works, the paper's: other crops are resized to it. 224 makes 7 x 7
    regions."""
    side_head: bool = False
    """Palsy: also answer which side is affected."""
    region_head: bool = False
    """Palsy: also answer how impaired each of the 12 regions is."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        if not 0 < self.selective_target <= 0.5:
            raise ValueError(f"selective_target is {self.selective_target}: above 0, at most 0.5")
        if self.hidden < 1 or self.input_size < 1:
            raise ValueError("hidden and input_size are at least 1")


class LPNet(PooledModel):
    """ResNet stem, L-Net over its regions, P-Net over the landmarks.

    25,403,480 parameters with 12 units; 25,393,752 with 49 points.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        options: LPNetOptions,
        *,
        task: Task,
        units: Sequence[int] | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__(task=task, units=units)
        self.options = options
        mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
        # From [-1, 1] to [0, 1], then to zero mean and unit deviation.
        self.register_buffer("scale", (0.5 / std)[:, None, None], persistent=False)
        self.register_buffer("shift", ((0.5 - mean) / std)[:, None, None], persistent=False)
        self.stem = ResidualTrunk(options.stem, width=width)
        features = self.stem.out_channels
        self.local: nn.Module = nn.Linear(features, self.num_outputs)
        if options.local_relations:
            self.local = RegionLstms(
                num_units=self.num_outputs,
                num_features=features,
                hidden=scaled(options.hidden, width),
            )
        self.person = None
        if options.person_specific:
            self.person = PersonNet(
                options.num_points,
                hidden=scaled(256, width),
                num_features=features,
                num_outputs=self.num_outputs,
            )
        self.palsy_heads = PalsyHeads(
            features, task=task, side=options.side_head, regions=options.region_head
        )

    @property
    def frame_size(self) -> int:
        """Side of the square crop, in pixels."""
        return self.options.frame_size

    @property
    def num_points(self) -> int:
        """Landmarks of each frame that P-Net needs; 0 without it."""
        return self.options.num_points if self.person is not None else 0

    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the prediction.

        Args:
            frames: (B, 3, S, S) in [-1, 1].
            landmarks: (B, num_points, 2) of the same crop, mirrored and turned as it is; P-Net
                sees them relative to the eyes, so their unit is free. Without P-Net not used.

        Raises:
            ValueError: P-Net lacks its landmarks, or they make no shape.
        """
        size = self.options.input_size
        if frames.shape[-1] != size:
            frames = functional.interpolate(frames, (size, size), mode="bilinear", antialias=True)
        # (B, K, D): the regions row by row.
        regions = self.stem(frames * self.scale + self.shift).flatten(2).transpose(1, 2)
        face = regions.mean(dim=1)
        # Each linear answer averaged over the regions is the answer to the mean region.
        logits = self.local(regions if self.options.local_relations else face)
        heads = self.palsy_heads(face)
        if self.person is not None:
            shape, shifts = self.person(_require_landmarks(landmarks))
            logits = logits + shifts
            if self.options.orthogonality != "none":
                heads["orthogonality"] = self._overlap(face.float(), shape.float())
        return self.predict(logits, heads)

    def label_loss(self, logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the cross-entropy; in training the labels of units are balanced by selection."""
        if self.task == "palsy":
            return super().label_loss(logits, batch)
        units = batch["units"]
        coded = units != NOT_CODED
        weights = coded.to(logits.dtype)
        if self.training and self.options.selective_learning:
            weights = selective_weights(
                units, target=self.options.selective_target, cap=self.options.selective_cap
            )
        losses = functional.binary_cross_entropy_with_logits(
            logits, (units == 1).to(logits.dtype), weight=weights, reduction="none"
        )
        return (losses.sum(dim=0) / coded.sum(dim=0).clamp_min(1)).mean()

    def loss(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the label loss, those of the palsy heads, "orthogonality" and "total"."""
        parts = super().loss(prediction, batch)
        if "orthogonality" in prediction.heads:
            parts["orthogonality"] = prediction.heads["orthogonality"].mean()
            weighted = self.options.orthogonality_weight * parts["orthogonality"]
            parts["total"] = parts["total"] + weighted
        return parts

    def _overlap(self, face: Tensor, shape: Tensor) -> Tensor:
        """Return (B,) how far the features of face and shape point the same way."""
        if self.options.orthogonality == "raw":
            return (face * shape).sum(dim=1).abs()
        return functional.cosine_similarity(face, shape, dim=1).abs()

    @torch.no_grad()
    def fold_for_inference(self) -> "LPNet":
        """Return an equal network whose batch norms are part of the convolutions."""
        folded = copy.deepcopy(self).eval()
        folded.stem.fold()
        return folded


class PersonNet(nn.Module):
    """P-Net: from the shape of the face to a feature of the person and a shift per answer."""

    def __init__(
        self, num_points: int, *, hidden: int, num_features: int, num_outputs: int
    ) -> None:
        super().__init__()
        self.num_points = num_points
        self.hidden = nn.Linear(2 * num_points, hidden)
        # Not rectified: the features of the face are not negative, against such ones a product
        # could only fall by switching units off.
        self.features = nn.Linear(hidden, num_features)
        self.shifts = nn.Linear(num_features, num_outputs)

    def forward(self, landmarks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the person's feature (B, D) and shifts (B, num_outputs).

        Args:
            landmarks: (B, num_points, 2).

        Raises:
            ValueError: Another number of points, points that are not finite, or no eye distance.
        """
        if landmarks.shape[1:] != (self.num_points, 2):
            raise ValueError(
                f"P-Net takes landmarks (B, {self.num_points}, 2), not {tuple(landmarks.shape)}: "
                f"build the network with num_points {landmarks.shape[1]}, or give the others"
            )
        shape = shape_of(landmarks)
        features = self.features(self.hidden(shape).relu())
        return features, self.shifts(features.relu())


def shape_of(landmarks: Tensor) -> Tensor:
    """Return landmarks relative to the middle of the eyes, in units of their distance.

    Args:
        landmarks: (B, P, 2) with P 49 or 68.

    Returns:
        (B, 2 P), x and y in turn.

    Raises:
        ValueError: A landmark is not finite, or the eyes of a face fall together.
    """
    left, right = (landmarks[:, eye].mean(dim=1, keepdim=True) for eye in EYES[landmarks.shape[1]])
    distance = (right - left).norm(dim=2, keepdim=True)
    shape = (landmarks - (left + right) / 2) / distance
    require_finite(shape, what="landmarks relative to the eyes")
    return shape.flatten(1)


def _require_landmarks(landmarks: Tensor | None) -> Tensor:
    if landmarks is None:
        raise ValueError(
            "LP-Net with P-Net needs the landmarks of each frame: call it with "
            "forward(frames, landmarks), or build it with person_specific off"
        )
    return landmarks
