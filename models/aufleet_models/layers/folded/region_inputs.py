"""What the input half of the skip-BiLSTM's convolution makes of regions, where it is not zero."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.folded.column_pairs import column_pair_index
from aufleet_models.layers.folded.windows import first_cells, pixels, window_side
from aufleet_models.layers.skip_lstm import NUM_DIRECTIONS

MARGIN = 2
"""A 3x3 convolution without padding takes so many pixels off each axis."""


class RegionInputs:
    """The results of all regions, from windows around their two centres.

    Regions whose windows have the same size are convolved at once. One size for all would be that
    of the largest: adaptive boxes differ by a factor of seven.

    Args:
        conv: Without padding and bias, C to 2 * 4C channels: down the face and up.
        feature: (B, S, S, C).
        maps: (B, n, S, S); region t is the feature times map t.
        cells: (B, n, 2, 2) whole-numbered centres of the maps.
        halves: n halves of boxes, in pixels.
        in_pairs: The gates hold the even columns before the odd ones; for one frame.
    """

    def __init__(
        self,
        conv: nn.Module,
        feature: Tensor,
        maps: Tensor,
        cells: Tensor,
        *,
        halves: Sequence[int],
        in_pairs: bool,
    ) -> None:
        self._conv, self._in_pairs = conv, in_pairs
        # The input of the convolution has a border of one pixel.
        self._feature = functional.pad(feature, (0, 0, 1, 1, 1, 1)).flatten(0, 2)
        self._maps = functional.pad(maps, (1, 1, 1, 1)).flatten(2)
        self._size, self._cells = maps.shape[-1], cells
        self._found: dict[int, tuple[Tensor, Tensor]] = {}
        for half in sorted(set(halves)):
            self._convolve([t for t, other in enumerate(halves) if other == half], half=half)

    def add_to(self, gates: Tensor, step: int) -> None:
        """Add the results of a step to its gates, in place.

        Args:
            gates: (..., 2 * 4C), B * S * S pixels.
            step: The region down the face; up the face it is region n-1-step.
        """
        rows = gates.view(-1, gates.shape[-1] // NUM_DIRECTIONS)
        for direction, region in enumerate((step, len(self._found) - 1 - step)):
            where, results = self._found[region]
            place = where + direction
            # Where the two windows of a region overlap both write the same sum.
            rows.index_copy_(0, place, rows.index_select(0, place).add_(results[:, direction]))

    def _convolve(self, regions: list[int], *, half: int) -> None:
        """Find where the results of some regions belong, (B * 2 * side^2,), and the results."""
        size, side = self._size, window_side(half, margin=MARGIN)
        wide, patch = size + MARGIN, side + MARGIN
        # A list of all regions would be copied to a GPU, which a captured graph cannot do.
        some = slice(None) if len(regions) == self._maps.shape[1] else regions
        cells = self._cells[:, some]
        first = first_cells(cells + 1, half=half, margin=MARGIN, size=size)
        seen = pixels(first, side=patch, size=wide).flatten(2)  # (B, regions, 2 * patch^2)
        patches = self._feature.index_select(0, _of_frame(seen, size=wide).flatten())
        patches *= self._maps[:, some].gather(2, seen).view(-1, 1)
        patches = patches.view(-1, patch, patch, patches.shape[-1]).permute(0, 3, 1, 2)
        results = self._conv(patches).permute(0, 2, 3, 1)
        results = results.reshape(len(cells), len(regions), 2 * side**2, NUM_DIRECTIONS, -1)
        where = pixels(first, side=side, size=size).flatten(2)
        if self._in_pairs:
            where = column_pair_index(where, size=size)
        where = NUM_DIRECTIONS * _of_frame(where, size=size)
        for number, region in enumerate(regions):
            self._found[region] = (where[:, number].flatten(), results[:, number].flatten(0, 1))


def _of_frame(pixel: Tensor, *, size: int) -> Tensor:
    """Return the index of pixels (B, ...) of maps of size * size among those of all frames."""
    frame = torch.arange(len(pixel), device=pixel.device) * size**2
    return pixel + frame.view(-1, *(1,) * (pixel.ndim - 1))
