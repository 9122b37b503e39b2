"""The parts of a layer of MGRR-Net: the relation matrix of regions, channel and pixel attention.

Shapes: B batch, R regions, C channels, S side of the feature maps.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.branches import BranchLinear

NUM_HEADS = 8


def prior_adjacency(agreement: Tensor, *, diagonal: bool = False) -> Tensor:
    """Return |2 P - 1|, how far the labels of two units depend on each other (eq. 1).

    Args:
        agreement: (R, R) P of `TrainingStatistics`; NaN where a pair was never coded together.
        diagonal: Keep the ones on the diagonal.
    """
    adjacency = (2 * agreement - 1).abs().nan_to_num(nan=0.0)
    return adjacency if diagonal else _off_diagonal(adjacency)


def uniform_adjacency(num_regions: int) -> Tensor:
    """Return (R, R) that weighs all other regions alike; rows sum to 1."""
    return _row_normalised(torch.ones(num_regions, num_regions))


def random_adjacency(num_regions: int) -> Tensor:
    """Return (R, R) drawn evenly from 0 up; rows sum to 1."""
    return _row_normalised(torch.rand(num_regions, num_regions))


def neighbour_adjacency(num_regions: int) -> Tensor:
    """Return (R, R) for pairs of regions from top to bottom, left before right.

    A region's neighbours are its partner on the other side and those above and below it on its own
    side; rows sum to 1.
    """
    index = torch.arange(num_regions)
    height, side = index // 2, index % 2
    steps = (height[:, None] - height).abs() + (side[:, None] - side).abs()
    return _row_normalised((steps == 1).float())


def _row_normalised(adjacency: Tensor) -> Tensor:
    others = _off_diagonal(adjacency)
    return others / others.sum(dim=1, keepdim=True).clamp_min(torch.finfo(others.dtype).tiny)


def _off_diagonal(adjacency: Tensor) -> Tensor:
    return adjacency - torch.diag(adjacency.diagonal())


class RegionGraph(nn.Module):
    """Each region takes from the others what the relation matrix says (eq. 6).

    `out_i = u_i + sum_j A_ij u_j` with `u_j = W_j v_j`, W_j a 1x1 convolution of its own.

    Attributes:
        adjacency: (R, R) A, learned from its first value on.
    """

    itself: Tensor

    def __init__(self, num_regions: int, *, channels: int) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(torch.zeros(num_regions, num_regions))
        self.project = BranchLinear(num_regions, channels, channels)
        self.register_buffer("itself", torch.eye(num_regions), persistent=False)

    def forward(self, regions: Tensor) -> Tensor:
        """Map (R, B, C, S, S) to the same shape, each region in channels_last."""
        pixels = regions.permute(0, 1, 3, 4, 2)
        projected = self.project(pixels.flatten(1, 3))
        mixed = (self.itself + self.adjacency) @ projected.flatten(1)
        return mixed.view(pixels.shape).permute(0, 1, 4, 2, 3)


class TokenAttention(nn.Module):
    """Dot-product attention of all tokens to all tokens, 8 heads, ReLU behind it (eq. 3 to 5)."""

    def __init__(self, size: int, *, head_size: int) -> None:
        super().__init__()
        self.head_size = head_size
        wide = NUM_HEADS * head_size
        self.queries, self.keys, self.values = (nn.Linear(size, wide) for _ in range(3))
        self.merge = nn.Linear(wide, size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T, size) to the same shape."""
        queries, keys, values = (
            part(tokens).unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
            for part in (self.queries, self.keys, self.values)
        )
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        return self.merge(attended.transpose(1, 2).flatten(2)).relu()


class GlobalLevel(nn.Module):
    """Attention among the channels, or among the pixels, of the whole-face feature.

    Args:
        kind: "channel": tokens are channels, described by their pixels; "pixel": the reverse.
        channels: C.
        size: S.
        stride: 2 halves the map by a convolution before, and doubles it by one behind; 1 has
            neither.
        head_size: Numbers per attention head.
    """

    def __init__(self, kind: str, *, channels: int, size: int, stride: int, head_size: int) -> None:
        super().__init__()
        self.kind = kind
        self.shrink: nn.Module = nn.Identity()
        self.grow: nn.Module = nn.Identity()
        if stride == 2:
            self.shrink = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
            self.grow = nn.ConvTranspose2d(
                channels, channels, 3, stride=2, padding=1, output_padding=1
            )
        num_pixels = (size // stride) ** 2
        token_size = num_pixels if kind == "channel" else channels
        self.attention = TokenAttention(token_size, head_size=head_size)

    def forward(self, face: Tensor) -> Tensor:
        """Map (B, C, S, S) to the same shape."""
        small = self.shrink(face)
        tokens = small.flatten(2)
        if self.kind == "channel":
            attended = self.attention(tokens)
        else:
            attended = self.attention(tokens.transpose(1, 2)).transpose(1, 2)
        return self.grow(attended.reshape(small.shape))
