"""Where the regions lie on a face: rules from landmarks to centres.

Sources: JAA-Net's unit rules (its PyTorch and Caffe code agree); the palsy regions are our
reading of ALGRNet, whose Fig. 3 gives them as a picture only.
"""

from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from aufleet_models.layers.alignment import NUM_LANDMARKS
from aufleet_models.layers.checks import require_finite

Point = tuple[int, float, float]
"""Landmark index, dx, dy: the offsets in units of the distance between the inner eye corners."""
Region = tuple[Point, ...]
"""One or two centres; two are painted into one map."""

INNER_EYE_CORNERS = (22, 25)


def _pair(left: int, right: int, dy: float = 0.0) -> Region:
    return ((left, 0.0, dy), (right, 0.0, dy))


UNIT_REGIONS = MappingProxyType(
    {
        1: _pair(4, 5, -1 / 2),
        2: _pair(1, 8, -1 / 3),
        4: _pair(2, 7, 1 / 3),
        6: _pair(24, 29, 1.0),
        7: _pair(21, 26),
        9: _pair(15, 17, -1 / 2),
        10: _pair(43, 45),
        12: _pair(31, 37),
        14: _pair(31, 37),
        15: _pair(31, 37),
        17: _pair(39, 41, 1 / 2),
        23: _pair(34, 40),
        24: _pair(34, 40),
        25: _pair(34, 40),
        26: _pair(39, 41, 1 / 2),
    }
)
"""Action unit -> its two centres."""

TOP_TO_BOTTOM = (1, 2, 4, 7, 9, 6, 10, 12, 14, 15, 23, 24, 25, 17, 26)
"""The units in the order in which their regions lie on a face."""

STACKED_CENTRES = (34, 40)
"""Landmarks of the pair that lies above each other: the middles of the upper and lower lip."""

PALSY_REGIONS: tuple[Region, ...] = (
    ((2, 0.0, -1 / 3),),
    ((7, 0.0, -1 / 3),),
    ((20, 0.0, 0.0),),
    ((27, 0.0, 0.0),),
    ((14, -1 / 4, -1 / 4),),
    ((18, 1 / 4, -1 / 4),),
    ((24, 0.0, 1.0),),
    ((29, 0.0, 1.0),),
    ((31, 0.0, 0.0),),
    ((37, 0.0, 0.0),),
    ((41, 0.0, 1 / 2),),
    ((39, 0.0, 1 / 2),),
)
"""Brow, upper lid, ala, cheek, mouth corner and chin, each left then right of the picture."""


def unit_regions(units: Sequence[int]) -> tuple[Region, ...]:
    """Return the regions of action units.

    Raises:
        ValueError: No units, a unit without a rule, or one that stands twice.
    """
    unknown = sorted(set(units) - set(UNIT_REGIONS))
    if unknown or not units or len(set(units)) < len(units):
        known = ", ".join(map(str, UNIT_REGIONS))
        raise ValueError(f"units {list(units)}: give each of some of {known} once")
    return tuple(UNIT_REGIONS[unit] for unit in units)


class RegionCentres(nn.Module):
    """Centres of n regions from 49 landmarks.

    Args:
        regions: n regions of one or two centres. A single centre is stored twice, which leaves
            its map unchanged: two centres are merged by their maximum.
    """

    index: Tensor
    offsets: Tensor
    signs: Tensor

    def __init__(self, regions: Sequence[Region]) -> None:
        super().__init__()
        pairs = [_both(region) for region in regions]
        self.register_buffer(
            "index", torch.tensor([[a[0], b[0]] for a, b in pairs]), persistent=False
        )
        self.register_buffer(
            "offsets", torch.tensor([[a[1:], b[1:]] for a, b in pairs]), persistent=False
        )
        signs = torch.tensor([_signs(region) for region in regions])
        self.register_buffer("signs", signs, persistent=False)

    def forward(self, landmarks: Tensor, moves: Tensor | None = None) -> Tensor:
        """Return the centres (B, n, 2 centres, 2) as (x, y) in pixels of the crop.

        Args:
            landmarks: (B, 49, 2) in pixels of the crop; no gradient reaches them.
            moves: (B, n, 2) shifts that mirror between the two centres, or (B, n, 2, 2) free
                ones, in units of the distance between the inner eye corners.

        Raises:
            ValueError: A landmark is NaN or infinite.
        """
        landmarks = landmarks.detach().float()
        require_finite(landmarks, what="landmarks")
        left, right = INNER_EYE_CORNERS
        scale = (landmarks[:, left, 0] - landmarks[:, right, 0]).abs().view(-1, 1, 1, 1)
        offsets = self.offsets
        if moves is not None:
            offsets = offsets + (moves.unsqueeze(2) * self.signs if moves.ndim == 3 else moves)
        return landmarks[:, self.index] + scale * offsets


def _both(region: Region) -> tuple[Point, Point]:
    if len(region) not in (1, 2) or any(not 0 <= point[0] < NUM_LANDMARKS for point in region):
        raise ValueError(
            f"region {region}: a region is one or two (landmark 0 to {NUM_LANDMARKS - 1}, dx, dy)"
        )
    return region[0], region[-1]


def _signs(region: Region) -> list[list[float]]:
    """Signs of (dx, dy) for the two centres, so that a mirrored face moves mirrored."""
    if len(region) == 1:
        return [[1.0, 1.0], [1.0, 1.0]]
    if tuple(point[0] for point in region) == STACKED_CENTRES:
        return [[1.0, 1.0], [1.0, -1.0]]
    return [[1.0, 1.0], [-1.0, 1.0]]
