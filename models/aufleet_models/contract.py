"""What every network takes and returns.

Shapes: B batch, U action units, 4 grades, R regions. Frames are (B, 3, 176, 176) in [-1, 1];
landmarks are (B, 49, 2) as (x, y) in pixels of that crop, for LP-Net also (B, 68, 2).
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

Task = Literal["au", "palsy"]

NOT_CODED = 9
"""The label of a unit, or of a grade, that is not known for a frame."""
NUM_GRADES = 4


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of a batch.

    Attributes:
        logits: (B, U) log-odds of each unit, or (B, 4) unnormalised log-probabilities of the
            grades.
        probabilities: (B, U), or (B, 4) that sum to 1.
        landmarks: (B, 49, 2) in pixels of the crop; None where the network has no alignment part.
        maps: (B, U or R, S, S) attention maps in [0, 1]; None where the network has none.
        side: (B, 3) probabilities of none, patient's left, patient's right; None without the head.
        regions: (B, R) impairment in [0, 1]; None without the head.
        heads: What only the network's own loss needs.
    """

    logits: Tensor
    probabilities: Tensor
    landmarks: Tensor | None = None
    maps: Tensor | None = None
    side: Tensor | None = None
    regions: Tensor | None = None
    heads: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingStatistics:
    """What a network learns from counting the labels of the training part of a fold.

    Attributes:
        positive_rates: (U,) share of coded frames in which each unit is active.
        agreement: (U, U) with P[i, j] = (P(a_i=1 | a_j=1) + P(a_i=0 | a_j=0)) / 2.
        grade_rates: (4,) share of graded frames of each grade.
        mean_shape: (49, 2) mean landmarks in pixels of the centre crop.
    """

    positive_rates: Tensor | None = None
    agreement: Tensor | None = None
    grade_rates: Tensor | None = None
    mean_shape: Tensor | None = None


class FaceModel(nn.Module):
    """The base of every network of the catalog.

    Attributes:
        config: Keyword arguments for `build_model` that build the same architecture again; plain
            values only, so that it can stand in a file.
        exact_parts: Submodules that remain in fp32 where the network answers in bf16.
        bears_bf16: Answers in bf16 stay near those in fp32.
    """

    config: dict[str, Any]
    exact_parts: ClassVar[tuple[str, ...]] = ()
    bears_bf16: ClassVar[bool] = True

    @abstractmethod
    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the prediction for a batch of frames."""

    @abstractmethod
    def loss(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts of the loss as scalars, their weighted sum under "total".

        Args:
            prediction: What `forward` returned in training mode.
            batch: "units" (B, U) with 0, 1 or 9 (not coded); "grade" (B,) with 0 to 3 or 9;
                "landmarks" (B, 49, 2) in pixels of the crop.
        """

    @abstractmethod
    def use_statistics(self, statistics: TrainingStatistics) -> None:
        """Store the counts of the training part in buffers, so that a checkpoint carries them.

        Called once, before training; balance weights, graph priors and the mean shape follow.
        """

    @property
    def frame_size(self) -> int:
        """Side of the square crop that the network takes, in pixels."""
        return 176

    @property
    def num_points(self) -> int:
        """Landmarks of each frame that `forward` needs: 49 or 68; 0 where it takes frames alone."""
        return 0

    def start_epoch(self, epoch: int) -> None:
        """Hear that a training epoch begins; also the first one after a resume.

        Args:
            epoch: Counted from 1.
        """

    @torch.no_grad()
    def fold_for_inference(self) -> "FaceModel":
        """Return an equal network that is faster: linear pairs and batch norms multiplied out."""
        return self
