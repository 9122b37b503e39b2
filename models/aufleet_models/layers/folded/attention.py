"""Attention among tokens with its linear pairs multiplied out.

Queries and keys only meet in their product, values and the last layer in theirs. What all keys of
a query have in common does not pass the softmax.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.layers.folded.packed import pack_linear
from aufleet_models.layers.graph import NUM_HEADS, TokenAttention


class FoldedPixelAttention(nn.Module):
    """A `TokenAttention` whose tokens are smaller than its heads.

    Tokens themselves stand for keys and values: half the products. On a CPU a few large ones, frame
    by frame, take 1.8 ms at full width in bf16, where torch's fused attention takes 3.6 (6.3 before
    folding).
    """

    def __init__(self, attention: TokenAttention) -> None:
        super().__init__()
        size = attention.merge.out_features
        queries, merge = nn.Linear(size, NUM_HEADS * size), nn.Linear(NUM_HEADS * size, size)
        _multiply(attention, queries=queries, merge=merge)
        self.queries: nn.Module = queries
        self.merge: nn.Module = nn.Sequential(merge, nn.ReLU(inplace=True))

    def pack(self, dtype: torch.dtype) -> None:
        """Lay the weights out for a CPU, see `packed`."""
        self.queries = pack_linear(self.queries, dtype=dtype)
        self.merge = pack_linear(self.merge, dtype=dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T, size) to the same shape."""
        if tokens.device.type != "cpu":
            return self.fused(tokens)
        return torch.stack([self._attended(frame) for frame in tokens.unbind(0)])

    def fused(self, tokens: Tensor) -> Tensor:
        """Return the same without ever holding the weights, which a GPU does better."""
        queries = self.queries(tokens).unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
        seen = tokens.unsqueeze(1).expand(queries.shape)
        attended = functional.scaled_dot_product_attention(queries, seen, seen, scale=1.0)
        return self.merge(attended.transpose(1, 2).flatten(2))

    def _attended(self, tokens: Tensor) -> Tensor:
        queries = self.queries(tokens).view(-1, tokens.shape[1])  # a row per token and head
        weights = torch.mm(queries, tokens.t()).softmax(dim=1)
        return self.merge(torch.mm(weights, tokens).view(len(tokens), -1))


class FoldedChannelAttention(nn.Module):
    """A `TokenAttention` whose tokens are larger than its heads: one product projects them."""

    def __init__(self, attention: TokenAttention) -> None:
        super().__init__()
        parts = (attention.queries, attention.keys, attention.values)
        project = nn.Linear(parts[0].in_features, 3 * parts[0].out_features)
        project.weight = nn.Parameter(torch.cat([part.weight for part in parts]).detach())
        project.bias = nn.Parameter(torch.cat([part.bias for part in parts]).detach())
        self.project: nn.Module = project
        self.merge: nn.Module = nn.Sequential(attention.merge, nn.ReLU(inplace=True))

    def pack(self, dtype: torch.dtype) -> None:
        """Lay the weights out for a CPU, see `packed`."""
        self.project = pack_linear(self.project, dtype=dtype)
        self.merge = pack_linear(self.merge, dtype=dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T, size) to the same shape."""
        # Where tokens are channels they do not lie one behind the other, and `nn.Linear` would
        # multiply frame by frame.
        projected = self.project(tokens.contiguous())
        parts = projected.unflatten(2, (3, NUM_HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.merge(attended.transpose(1, 2).flatten(2))


def fold_attention(attention: TokenAttention) -> nn.Module:
    """Return the form with less arithmetic."""
    small = attention.merge.out_features < attention.head_size
    return FoldedPixelAttention(attention) if small else FoldedChannelAttention(attention)


@torch.no_grad()
def _multiply(attention: TokenAttention, *, queries: nn.Linear, merge: nn.Linear) -> None:
    def heads(layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return layer.weight.unflatten(0, (NUM_HEADS, -1)), layer.bias.view(NUM_HEADS, -1, 1)

    (query, query_bias), (key, _) = heads(attention.queries), heads(attention.keys)
    value, value_bias = heads(attention.values)
    outward = attention.merge.weight.unflatten(1, (NUM_HEADS, -1)).transpose(0, 1)
    key = key / math.sqrt(key.shape[1])
    queries.weight.copy_((key.mT @ query).flatten(0, 1))
    queries.bias.copy_((key.mT @ query_bias).flatten())
    merge.weight.copy_((outward @ value).transpose(0, 1).flatten(1))
    merge.bias.copy_(attention.merge.bias + (outward @ value_bias).sum(0).flatten())
