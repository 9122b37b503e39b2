"""Square windows of maps: where a region's box, and all that a convolution makes of it, lies."""

import torch
from torch import Tensor


def window_side(half: int, *, margin: int) -> int:
    """Return the side of what convolutions make of a box of 2 * half + 1 pixels.

    Args:
        half: Half a box.
        margin: Pixels that unpadded convolutions take off an axis.
    """
    return 2 * half + 1 + margin


def first_cells(cells: Tensor, *, half: int, margin: int, size: int) -> Tensor:
    """Return the first (x, y) of the windows of results that boxes touch, inside the map.

    Args:
        cells: (..., 2) whole-numbered centres (x, y) of the boxes in the input of the
            convolutions.
        half: Half a box.
        margin: Pixels that the unpadded convolutions take off an axis.
        size: Side of the result.
    """
    last = size - window_side(half, margin=margin)
    return (cells - half - margin).clamp(0, last).long()


def pixels(first: Tensor, *, side: int, size: int) -> Tensor:
    """Return the index of each pixel of windows in a map of size * size: (..., side * side).

    Args:
        first: (..., 2) as (x, y).
        side: Side of the windows.
        size: Side of the map.
    """
    steps = torch.arange(side, device=first.device)
    x, y = (first[..., axis, None] + steps for axis in (0, 1))
    return (y[..., :, None] * size + x[..., None, :]).flatten(-2)
