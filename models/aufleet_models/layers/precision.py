"""The dtype that autocast computes in."""

import torch
from torch import Tensor


def autocast_like(x: Tensor) -> Tensor:
    """Return x in the dtype of the products that autocast makes of it, unchanged without autocast.

    One conversion in front of many elementwise steps, which autocast leaves in the dtype they get.
    """
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x
