"""3x3 convolutions that make two columns of pixels from four products instead of six.

Winograd's F(2, 3), along rows alone: sums and differences of columns stand for the third that is
saved, and no number grows by more than twice. Even and odd columns are maps of their own, so that
each product is a convolution of 3 x 1 pixels over half a map. In bf16 it rounds 1.6 times as much
as the direct form.
"""

import torch
from torch import Tensor, nn

from aufleet_models.layers.folded.packed import PackedConv


class ColumnPairs(nn.Module):
    """A convolution of 3 x 3 pixels with padding 1, for a CPU.

    Args:
        conv: The convolution, with a bias.
        relu: ReLU behind it.
        dtype: Of weights and results.
    """

    def __init__(self, conv: nn.Conv2d, *, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        left, middle, right = conv.weight.detach().unsqueeze(-1).unbind(3)
        kernels = (left, (left + middle + right) / 2, (left - middle + right) / 2, -right)
        self.outer_left, self.sums, self.differences, self.outer_right = (
            PackedConv(
                _three_rows(conv, kernel, with_bias=number in (0, 3)),
                relu=relu and number in (0, 3),
                dtype=dtype,
            )
            for number, kernel in enumerate(kernels)
        )

    def forward(self, even: Tensor, odd: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Return (2, B, C', H, W/2), the even and the odd columns, each in channels_last.

        Args:
            even: (B, C, H, W/2).
            odd: (B, C, H, W/2).
            out: (2, B, H, W/2, C'), contiguous, to write into.
        """
        sums, differences = self.sums(even + odd), self.differences(odd - even)
        shape = sums.permute(0, 2, 3, 1).shape
        found = (sums.new_empty(2, *shape) if out is None else out).permute(0, 1, 4, 2, 3)
        torch.add(sums, differences, out=found[0])
        torch.sub(sums, differences, out=found[1])
        left = odd.neg()
        left[..., 1:] += odd[..., :-1]
        right = even.clone(memory_format=torch.channels_last)
        right[..., :-1] -= even[..., 1:]
        self.outer_left.add_to(found[0], left)
        self.outer_right.add_to(found[1], right)
        return found


def _three_rows(conv: nn.Conv2d, kernel: Tensor, *, with_bias: bool) -> nn.Conv2d:
    assert conv.kernel_size == (3, 3)
    assert conv.padding == conv.stride == (1, 1)
    assert conv.bias is not None
    rows = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (3, 1),
        padding=(1, 0),
        groups=conv.groups,
        bias=with_bias,
    )
    rows.weight = nn.Parameter(kernel)
    if with_bias:
        rows.bias = nn.Parameter(conv.bias.detach())
    return rows


def columns_apart(x: Tensor, *, dim: int) -> Tensor:
    """Return (..., 2H, W/2, ...) of (..., H, W, ...): the even columns above the odd ones.

    Args:
        x: W is even.
        dim: Of H.
    """
    even, odd = x.unflatten(dim + 1, (-1, 2)).unbind(dim + 2)
    return torch.cat([even, odd], dim=dim)


def columns_together(x: Tensor, *, dim: int) -> Tensor:
    """See (..., H, W, ...) in the order of `columns_apart`, as (..., 2, H, W/2, ...)."""
    return x.unflatten(dim + 1, (-1, 2)).movedim(dim + 2, dim)


def column_pair_index(pixel: Tensor, *, size: int) -> Tensor:
    """Return where `columns_apart` puts pixels (row * size + column) of maps of size * size."""
    return (pixel % 2) * (size * size // 2) + pixel // 2
