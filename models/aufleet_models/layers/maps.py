"""Attention maps around region centres.

Hard maps are JAA-Net's; soft ones are ours, so that adaptive regions can learn their place and
size, which neither ALGRNet paper spells out.
"""

import torch
from torch import Tensor

FRAME_SIZE = 176
RATIO = 0.14
"""Side of a region's box over the side of the map."""
MAX_RATIO = 2 * RATIO
"""Of adaptive regions."""
SLOPE = 0.56
"""Fall of the value per pixel of distance, in units of 1 / (box side)."""

SOFTNESS = 0.25
"""Width of a soft box's edge in map pixels."""
SOFT_REACH = 11 * SOFTNESS
"""Where the edge has fallen to sigmoid(-11)."""


def box_cells(centres: Tensor, *, size: int) -> Tensor:
    """Return the pixels of a map, whole numbers, in which centres of the crop lie."""
    return torch.round(centres * (size / FRAME_SIZE))


def half_box(size: int) -> int:
    """Return how many pixels a box of ratio 0.14 has on each side of its centre."""
    return round((size - 1) / 2 * RATIO)


def half_soft_box(ratio: float, *, size: int) -> int:
    """Return how many pixels from the rounded centre a soft map reaches.

    Beyond them its values are below 2e-5 of the tent.
    """
    edge = ratio * (size - 1) / 2 + 0.5
    return int(edge + SOFT_REACH + 0.5)


def hard_maps(centres: Tensor, *, size: int = 44, ratios: Tensor | None = None) -> Tensor:
    """Return maps (B, n, S, S): a box around each centre in which values fall linearly.

    Both ends of a box are clamped to the map separately, as in JAA-Net: a centre outside still
    paints the border row or column that is nearest.

    Args:
        centres: (B, n, 2, 2) as (x, y) in pixels of the crop.
        size: Side S of the map.
        ratios: (B, n) box side over map side; 0.14 everywhere when None.
    """
    cells = box_cells(centres, size=size).transpose(-1, -2)[..., None]
    if ratios is None:
        half: Tensor | int = half_box(size)
        slope: Tensor | float = SLOPE / (size * RATIO)
    else:
        half = torch.round((size - 1) / 2 * ratios)[..., None, None, None]
        slope = (SLOPE / (size * ratios))[..., None, None, None]
    # One axis at a time: (B, n, axis, centre, S).
    positions = torch.arange(size, device=centres.device, dtype=centres.dtype)
    first, last = (cells - half).clamp(0, size - 1), (cells + half).clamp(0, size - 1)
    inside = (positions >= first) & (positions <= last)
    distance = (positions - cells).abs()
    (in_x, in_y), (far_x, far_y) = inside.unbind(2), distance.unbind(2)
    box = in_y[..., :, None] & in_x[..., None, :]
    tent = 1 - (far_y[..., :, None] + far_x[..., None, :]) * slope
    return (tent.clamp_min(0) * box).amax(2)


def soft_maps(
    centres: Tensor, ratios: Tensor, *, size: int = 44, softness: float = SOFTNESS
) -> Tensor:
    """Return maps (B, n, S, S) that can be differentiated by centres and ratios.

    At ratio 0.14 and whole-numbered centres they differ from the hard ones by at most 0.004
    inside the box and 0.10 on its border (softness 0.25).

    Args:
        centres: (B, n, 2, 2) as (x, y) in pixels of the crop.
        ratios: (B, n) box side over map side.
        size: Side S of the map.
        softness: Width of the box's edge in map pixels.
    """
    cells = (centres * (size / FRAME_SIZE)).transpose(-1, -2)[..., None]
    ratios = ratios[..., None, None, None]
    positions = torch.arange(size, device=centres.device, dtype=centres.dtype)
    distance = (positions - cells).abs()
    edge = torch.sigmoid((ratios * ((size - 1) / 2) + 0.5 - distance) / softness)
    (far_x, far_y), (edge_x, edge_y) = distance.unbind(2), edge.unbind(2)
    fall = (far_y[..., :, None] + far_x[..., None, :]) * (SLOPE / (size * ratios))
    box = edge_y[..., :, None] * edge_x[..., None, :]
    return ((1 - fall).clamp_min(0) * box).amax(2)


def straight_through_maps(centres: Tensor, ratios: Tensor, *, size: int = 44) -> Tensor:
    """Return the hard maps with the gradients of the soft ones."""
    soft = soft_maps(centres, ratios, size=size)
    hard = hard_maps(centres.detach(), size=size, ratios=ratios.detach())
    return hard + soft - soft.detach()
