"""Gated axial attention (Medical Transformer, Valanarasu et al. 2021; Axial-DeepLab's positions).

Shapes: N sequences (batch times the other axis), L their length, w channels, g groups. Per group
the queries and keys have w / 2g channels, the values w / g.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aufleet_models.layers.folding import fold_conv_norm

NUM_GROUPS = 8
CHANNEL_STEP = 2 * NUM_GROUPS
"""The width of an attention must be a multiple of this: half a group's channels are queries."""
INITIAL_GATE = 0.1


class AxialAttention(nn.Module):
    """Attention along sequences of one fixed length, with learned relative positions.

    `logits = BN(q.k) + BN(f_qr q.r_q) + BN(f_kr (k.r_k)^T)`, softmax without a square root, then
    `BN(f_sv att.v) + BN(f_sve att.r_v)`. The published code normalises the three logits (and the
    two outputs) stacked, in one batch norm; each norm acts per channel, so these are the same.

    Attributes:
        gates: (4,) the factors f_qr, f_kr, f_sve and f_sv.
        gates_frozen: Whether the gates pass no gradient.
    """

    distances: Tensor

    def __init__(self, channels: int, *, length: int, slope: float = 1.0) -> None:
        super().__init__()
        if channels % CHANNEL_STEP:
            raise ValueError(f"axial attention takes multiples of {CHANNEL_STEP}, not {channels}")
        self.group_channels = channels // NUM_GROUPS
        self.length = length
        self.project = nn.Conv1d(channels, 2 * channels, 1, bias=False)
        self.project_norm = nn.BatchNorm1d(2 * channels)
        self.positions = nn.Parameter(torch.empty(2 * self.group_channels, 2 * length - 1))
        self.logit_norms = nn.ModuleList(LogitNorm(NUM_GROUPS) for _ in range(3))
        for norm in self.logit_norms:
            nn.init.constant_(norm.get_parameter("weight"), slope)
        self.output_norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(2))
        self.gates = nn.Parameter(torch.tensor([INITIAL_GATE] * 3 + [1.0]))
        self.gates_frozen = False
        steps = torch.arange(length)
        distances = steps[:, None] - steps[None, :] + length - 1
        self.register_buffer("distances", distances, persistent=False)
        nn.init.normal_(self.project.weight, std=channels**-0.5)
        nn.init.normal_(self.positions, std=self.group_channels**-0.5)

    def forward(self, sequences: Tensor) -> Tensor:
        """Map (N, w, L) to (N, w, L)."""
        half = self.group_channels // 2
        sizes = (half, half, self.group_channels)
        projected = self.project_norm(self.project(sequences))
        queries, keys, values = projected.unflatten(1, (NUM_GROUPS, -1)).split(sizes, dim=2)
        # (c, L, L): entry (c, i, j) belongs to query i and key j.
        of_query, of_key, of_value = self.positions[:, self.distances].split(sizes)
        gates = self.gates.detach() if self.gates_frozen else self.gates
        gate_query, gate_key, gate_position, gate_value = gates.unbind()

        norm_content, norm_query, norm_key = self.logit_norms
        num_logits = sequences.shape[0] * self.length**2  # len() would fix a traced batch
        slope = norm_content(lambda: _content_moments(queries, keys), num_logits=num_logits)
        # The (L, L) maps are by far the largest tensors here: sums are made in place.
        logits = (queries * slope).transpose(2, 3) @ keys
        queries, keys = queries * gate_query, keys * gate_key
        slope = norm_query(lambda: _position_moments(queries, of_query), num_logits=num_logits)
        logits += torch.einsum("ngci,cij->ngij", queries * slope, of_query)
        slope = norm_key(lambda: _position_moments(keys, of_key), num_logits=num_logits)
        logits += torch.einsum("ngcj,cji->ngij", keys * slope, of_key)
        attention = logits.softmax(dim=-1)

        norm_value, norm_position = self.output_norms
        content = values @ attention.transpose(2, 3)
        position = torch.einsum("ngij,cij->ngci", attention, of_value)
        return norm_value(gate_value * content.flatten(1, 2)) + norm_position(
            gate_position * position.flatten(1, 2)
        )

    def fold(self) -> None:
        """Multiply the norm of the projection into it; evaluation mode only."""
        fold_conv_norm(self, "project", "project_norm")


class LogitNorm(nn.BatchNorm2d):
    """Batch norm of (N, g, L, L) logits that are never looked at: their moments are enough.

    Logits are products of small factors. Their mean and mean square follow from the factors, and
    the slope of the norm goes back into one of them: a pass over the largest maps, and a copy of
    them for the gradient, is saved. The shift is the same for all keys of a query, which the
    softmax does not see.
    """

    def forward(self, moments: Callable[[], tuple[Tensor, Tensor]], *, num_logits: int) -> Tensor:
        """Return the slope of each group, (g, 1, 1).

        Args:
            moments: Called in training: mean and mean square of the logits, each (g,).
            num_logits: N * L * L.
        """
        variance = self.running_var
        if self.training:
            mean, mean_square = moments()
            variance = (mean_square - mean.square()).clamp_min(0)
            self._follow(mean, variance * (num_logits / (num_logits - 1)))
        assert variance is not None
        slope = self.weight * (variance + self.eps).rsqrt()
        return (slope + 0 * self.bias)[:, None, None]  # the shift's gradient is 0, not missing

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)
        self.num_batches_tracked += 1


def _content_moments(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and mean square (g,) of q_i . k_j over all sequences, i and j.

    Args:
        queries: (N, g, c, L).
        keys: (N, g, c, L).
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = _at_least_float(queries), _at_least_float(keys)
        means = queries.mean(dim=3) * keys.mean(dim=3)
        squares = (queries @ queries.transpose(2, 3)) * (keys @ keys.transpose(2, 3))
        mean_square = squares.sum(dim=(2, 3)).mean(dim=0) / queries.shape[3] ** 2
        return means.sum(dim=2).mean(dim=0), mean_square


def _position_moments(vectors: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and mean square (g,) of v_i . r_ij over all sequences, i and j.

    Args:
        vectors: (N, g, c, L).
        positions: (c, L, L).
    """
    with torch.autocast(vectors.device.type, enabled=False):
        vectors, positions = _at_least_float(vectors), _at_least_float(positions)
        means = vectors.mean(dim=0) * positions.mean(dim=2)
        # (g, L, c, c) and (L, c, c): second moments at each place.
        by_place = vectors.permute(1, 3, 2, 0)
        rows = positions.transpose(0, 1)
        squares = (by_place @ by_place.transpose(2, 3)) * (rows @ rows.transpose(1, 2))
        mean_square = squares.sum(dim=(2, 3)).mean(dim=1) / (len(vectors) * positions.shape[2])
        return means.sum(dim=1).mean(dim=1), mean_square


def _at_least_float(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


class AxialBlock(nn.Module):
    """Attention along the height, then along the width, between two 1x1 convolutions.

    Args:
        in_channels: Channels of the input.
        planes: Channels of the attention; the block returns twice as many.
        size: Side of the square input.
        stride: Average pooling behind the attention along the width.
        slope: First slope of the norms of the attentions' logits.
    """

    def __init__(
        self, in_channels: int, planes: int, *, size: int, stride: int, slope: float = 1.0
    ) -> None:
        super().__init__()
        out_channels = 2 * planes
        self.down = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.down_norm = nn.BatchNorm2d(planes)
        self.height = AxialAttention(planes, length=size, slope=slope)
        self.width = AxialAttention(planes, length=size, slope=slope)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.up = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.up_norm = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, 2 * planes, S / stride, S / stride)."""
        hidden = self.down_norm(self.down(features)).relu()
        hidden = along_height(self.height, hidden)
        hidden = along_height(self.width, hidden.transpose(2, 3)).transpose(2, 3)
        hidden = self.up_norm(self.up(self.pool(hidden).relu()))
        return (hidden + self.shortcut(features)).relu()

    def fold(self) -> None:
        """Multiply the batch norms into the 1x1 convolutions; evaluation mode only."""
        fold_conv_norm(self, "down", "down_norm")
        fold_conv_norm(self, "up", "up_norm")
        if isinstance(self.shortcut, nn.Sequential):
            fold_conv_norm(self.shortcut, "0", "1")


def along_height(attention: AxialAttention, features: Tensor) -> Tensor:
    """Attend along the third axis of (B, C, H, W), each column by itself."""
    columns = features.permute(0, 3, 1, 2)
    attended = attention(columns.flatten(0, 1))
    return attended.unflatten(0, columns.shape[:2]).permute(0, 2, 3, 1)
