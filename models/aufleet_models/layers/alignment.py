"""The alignment net: 49 landmarks from the shared feature."""

import torch
from torch import Tensor, nn

from aufleet_models.layers.folding import fold_linear_pair
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.scaling import scaled

NUM_LANDMARKS = 49
NUM_CELLS = 25
"""Pixels of the 5 x 5 map in which every extractor ends."""


class AlignmentNet(nn.Module):
    """High-level extractor and two linear layers without an activation between them.

    2,912,098 parameters at width 1.0.
    """

    def __init__(self, in_channels: int, *, width: float = 1.0) -> None:
        super().__init__()
        self.extractor = HighLevelExtractor(in_channels, width=width)
        self.out_channels = self.extractor.out_channels
        hidden = scaled(512, width)
        self.hidden: nn.Module = nn.Linear(NUM_CELLS * self.out_channels, hidden)
        self.points = nn.Linear(hidden, 2 * NUM_LANDMARKS)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return the alignment feature (B, 160, 5, 5) and landmarks (B, 49, 2).

        Landmarks are pixels of the 176 crop.
        """
        extracted = self.extractor(feature)
        hidden = self.hidden(extracted.flatten(1))
        # In bf16 a coordinate above 128 would be a whole number of pixels.
        with torch.autocast(hidden.device.type, enabled=False):
            points = self.points(hidden.to(self.points.weight.dtype))
        return extracted, points.float().unflatten(1, (NUM_LANDMARKS, 2))

    def fold(self) -> None:
        """Multiply the two linear layers."""
        if isinstance(self.hidden, nn.Linear):
            self.points = fold_linear_pair(self.hidden, self.points)
            self.hidden = nn.Identity()

    @torch.no_grad()
    def start_from(self, mean_shape: Tensor) -> None:
        """Let the first answers lie around `mean_shape` (49, 2) instead of around (0, 0).

        Without it the alignment loss starts near 88 and early steps can diverge.
        """
        self.points.bias.copy_(mean_shape.flatten())
