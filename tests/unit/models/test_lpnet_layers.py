import math

import pytest
import torch
from torch import Tensor, nn

from aufleet_models.layers.region_lstm import RegionLstms
from aufleet_models.layers.selective import selective_weights

UNITS, FRAMES, REGIONS, FEATURES, HIDDEN = 3, 4, 6, 5, 7


def _looped(lstms: RegionLstms, regions: Tensor) -> Tensor:
    """One torch LSTM cell per unit, one step after the other."""
    answers = torch.zeros(FRAMES, UNITS, dtype=regions.dtype)
    for unit in range(UNITS):
        cell = nn.LSTMCell(FEATURES, HIDDEN, dtype=regions.dtype)
        cell.load_state_dict(
            {
                "weight_ih": lstms.weight_input[unit],
                "weight_hh": lstms.weight_hidden[unit].T,
                "bias_ih": lstms.bias_input[unit],
                "bias_hh": lstms.bias_hidden[unit],
            }
        )
        state = None
        for region in range(REGIONS):
            state = cell(regions[:, region], state)
            answers[:, unit] += state[0] @ lstms.weight_answer[unit] + lstms.bias_answer[unit]
    return answers / REGIONS


@torch.no_grad()
def test_batched_lstms_equal_a_loop_of_torch_cells() -> None:
    torch.manual_seed(0)
    lstms = RegionLstms(num_units=UNITS, num_features=FEATURES, hidden=HIDDEN).double()
    regions = torch.randn(FRAMES, REGIONS, FEATURES, dtype=torch.float64)
    torch.testing.assert_close(lstms(regions), _looped(lstms, regions))


def _weights(labels: list[int], **settings: float) -> list[float]:
    column = torch.tensor(labels)[:, None]
    settings = {"target": 0.5, "cap": 10.0, **settings}
    return selective_weights(column, **settings)[:, 0].tolist()


def test_rare_positives_weigh_half_and_as_many_negatives_stay() -> None:
    weights = _weights([1, 1] + [0] * 6)
    assert weights[:2] == [2.0, 2.0]
    assert sorted(weights[2:]) == [0, 0, 1, 1, 1, 1]


def test_rare_negatives_are_the_mirror_of_rare_positives() -> None:
    weights = _weights([0] + [1] * 4)
    assert weights[0] == 2.5
    assert sorted(weights[1:]) == [0, 1, 1, 1]  # ceil(0.5 * 5) = 3 stay


def test_balanced_labels_keep_weight_one() -> None:
    assert _weights([0, 1, 1, 0]) == [1, 1, 1, 1]


def test_a_raised_weight_is_capped() -> None:
    assert _weights([1] + [0] * 29)[0] == 10.0
    assert _weights([1] + [0] * 29, cap=3.0)[0] == 3.0


def test_an_absent_class_leaves_half_of_the_other() -> None:
    assert sorted(_weights([0] * 6)) == [0, 0, 0, 1, 1, 1]
    assert sorted(_weights([1] * 5)) == [0, 0, 1, 1, 1]


def test_a_smaller_target_keeps_fewer() -> None:
    weights = _weights([1] + [0] * 9, target=0.3)
    assert weights[0] == pytest.approx(3.0)
    assert sum(weights[1:]) == 3


def test_labels_that_are_not_coded_weigh_nothing_and_do_not_count() -> None:
    weights = _weights([1, 9, 0, 0, 0, 9, 9])
    assert weights[0] == 2.0
    assert [weights[i] for i in (1, 5, 6)] == [0, 0, 0]
    assert sum(weights[2:5]) == 2
    assert _weights([9, 9]) == [0, 0]


def test_the_draw_follows_the_generator_and_differs_between_units() -> None:
    labels = torch.zeros(64, 2, dtype=torch.int64)

    def draw(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return selective_weights(labels, target=0.5, cap=10.0, generator=generator)

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
    assert not torch.equal(draw(3)[:, 0], draw(3)[:, 1])


def test_both_classes_of_every_unit_weigh_the_same() -> None:
    labels = (torch.rand(200, 12) < torch.linspace(0.08, 0.92, 12)).long()
    weights = selective_weights(labels, target=0.5, cap=math.inf)
    positive = (weights * (labels == 1)).sum(0)
    torch.testing.assert_close(positive, torch.full((12,), 100.0))
    torch.testing.assert_close((weights * (labels == 0)).sum(0), torch.full((12,), 100.0))
