"""Which frames of a batch go through memory-bound layers together."""

from collections.abc import Sequence

import torch
from torch import Tensor


def shares(x: Tensor) -> list[slice]:
    """Return the shares of a batch.

    On a CPU frames follow each other: the maps of one remain in the cache from a layer to the
    next, those of several do not. A GPU takes all at once.

    Args:
        x: (B, ...).
    """
    if x.device.type != "cpu":
        return [slice(None)]
    return [slice(number, number + 1) for number in range(len(x))]


def joined_regions(parts: Sequence[Tensor]) -> Tensor:
    """Return (n, B, C, S, S) of the regions (n, b, C, S, S) of each share, in channels_last."""
    if len(parts) == 1:
        return parts[0]
    rows = torch.cat([part.permute(0, 1, 3, 4, 2) for part in parts], dim=1)
    return rows.permute(0, 1, 4, 2, 3)
