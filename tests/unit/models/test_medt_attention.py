import pytest
import torch
from torch import Tensor

from aufleet_models.layers.axial import NUM_GROUPS, AxialAttention, AxialBlock, along_height

CHANNELS, LENGTH, SEQUENCES = 16, 5, 3


@pytest.fixture
def attention() -> AxialAttention:
    torch.manual_seed(0)
    attention = AxialAttention(CHANNELS, length=LENGTH).double()
    with torch.no_grad():
        for name, parameter in attention.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
        attention.gates.uniform_(0.2, 1.2)
    return attention


def _batch_norm(values: Tensor, norm: torch.nn.Module, channel: int, *, training: bool) -> Tensor:
    mean, variance = norm.running_mean[channel], norm.running_var[channel]
    if training:
        mean, variance = values.mean(), values.var(correction=0)
    scaled = (values - mean) / (variance + norm.eps).sqrt()
    return scaled * norm.weight[channel] + norm.bias[channel]


def _reference(attention: AxialAttention, sequences: Tensor, *, training: bool) -> Tensor:
    """Axial attention as the specification words it, one position after the other."""
    width, length = CHANNELS, LENGTH
    group = width // NUM_GROUPS
    half = group // 2
    weight = attention.project.weight[:, :, 0]
    projected = torch.stack(
        [
            _batch_norm(
                torch.einsum("c,ncl->nl", weight[channel], sequences),
                attention.project_norm,
                channel,
                training=training,
            )
            for channel in range(2 * width)
        ],
        dim=1,
    )
    gate_query, gate_key, gate_position, gate_value = attention.gates
    table = attention.positions
    output = torch.zeros_like(sequences)
    for g in range(NUM_GROUPS):
        own = projected[:, 2 * group * g : 2 * group * (g + 1)]
        queries, keys, values = own[:, :half], own[:, half:group], own[:, group:]
        maps = torch.zeros(3, len(sequences), length, length, dtype=sequences.dtype)
        for n in range(len(sequences)):
            for i in range(length):
                for j in range(length):
                    to_key, to_query = i - j + length - 1, j - i + length - 1
                    maps[0, n, i, j] = queries[n, :, i] @ keys[n, :, j]
                    maps[1, n, i, j] = gate_query * (queries[n, :, i] @ table[:half, to_key])
                    maps[2, n, i, j] = gate_key * (keys[n, :, j] @ table[half:group, to_query])
        logits = sum(
            _batch_norm(part, norm, g, training=training)
            for part, norm in zip(maps, attention.logit_norms, strict=True)
        )
        weights = logits.softmax(dim=-1)
        for c in range(group):
            content, position = torch.zeros(2, len(sequences), length, dtype=sequences.dtype)
            for n in range(len(sequences)):
                for i in range(length):
                    for j in range(length):
                        row = table[group + c, i - j + length - 1]
                        content[n, i] += gate_value * weights[n, i, j] * values[n, c, j]
                        position[n, i] += gate_position * weights[n, i, j] * row
            norm_value, norm_position = attention.output_norms
            channel = g * group + c
            output[:, channel] = _batch_norm(
                content, norm_value, channel, training=training
            ) + _batch_norm(position, norm_position, channel, training=training)
    return output


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_axial_attention_equals_the_loop_over_positions(
    attention: AxialAttention, training: bool
) -> None:
    sequences = torch.randn(SEQUENCES, CHANNELS, LENGTH, dtype=torch.float64)
    attention.train()
    attention(torch.randn(8, CHANNELS, LENGTH, dtype=torch.float64))  # running statistics
    expected = _reference(attention, sequences, training=training)
    attention.train(training)
    torch.testing.assert_close(attention(sequences), expected)


@torch.no_grad()
def test_norms_of_logits_follow_the_logits_as_batch_norm_does(attention: AxialAttention) -> None:
    seen = []
    for norm in attention.logit_norms:
        norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]()))
    sequences = torch.randn(SEQUENCES, CHANNELS, LENGTH, dtype=torch.float64)
    attention(sequences)
    projected = attention.project_norm(attention.project(sequences)).unflatten(1, (8, -1))
    half = attention.group_channels // 2
    queries, keys = projected[:, :, :half], projected[:, :, half : 2 * half]
    position = attention.positions[:half, attention.distances]
    by_query = torch.einsum("ngci,cij->ngij", queries * attention.gates[0], position)
    for index, logits in enumerate((queries.transpose(2, 3) @ keys, by_query)):
        literal = torch.nn.BatchNorm2d(NUM_GROUPS, dtype=torch.float64)
        literal(logits)
        norm = attention.logit_norms[index]
        torch.testing.assert_close(seen[index][0], logits.mean(dim=(0, 2, 3)))
        torch.testing.assert_close(norm.running_mean, literal.running_mean)
        torch.testing.assert_close(norm.running_var, literal.running_var)
        assert norm.num_batches_tracked == 1


def test_frozen_gates_get_no_gradient(attention: AxialAttention) -> None:
    sequences = torch.randn(SEQUENCES, CHANNELS, LENGTH, dtype=torch.float64)
    attention.gates_frozen = True
    (attention(sequences) ** 3).sum().backward()
    assert attention.gates.grad is None
    attention.gates_frozen = False
    (attention(sequences) ** 3).sum().backward()
    assert attention.gates.grad is not None
    assert attention.gates.grad.count_nonzero() == 4


@torch.no_grad()
def test_attention_runs_along_the_height_of_each_column(attention: AxialAttention) -> None:
    features = torch.randn(2, CHANNELS, LENGTH, 3, dtype=torch.float64)
    attended = along_height(attention.eval(), features)
    column = attention(features[1:, :, :, 2])
    torch.testing.assert_close(attended[1:, :, :, 2], column)


def test_a_block_halves_the_map_after_attention() -> None:
    block = AxialBlock(8, 16, size=8, stride=2)
    assert block(torch.randn(2, 8, 8, 8)).shape == (2, 32, 4, 4)


def test_attention_refuses_channels_that_do_not_split_into_groups() -> None:
    with pytest.raises(ValueError, match="multiples of 16, not 24"):
        AxialAttention(24, length=4)
