import pytest
import torch

from aufleet_models.layers import high_level
from aufleet_models.layers.high_level import HighLevelExtractor, merge_branches, split_branches


@pytest.mark.parametrize("training", [True, False])
def test_grouped_and_looped_branches_are_the_same(monkeypatch, training: bool) -> None:
    torch.manual_seed(0)
    layers = HighLevelExtractor(4, width=0.0625, num_branches=3).train(training)
    x = torch.randn(3, 2, 4, 44, 44)
    state = {name: value.clone() for name, value in layers.state_dict().items()}
    results = []
    for channels in (0, 1000):
        monkeypatch.setattr(high_level, "MIN_LOOP_CHANNELS", channels)
        layers.load_state_dict(state)
        results.append((layers.branches(x), layers.layers[0].norm.running_var.clone()))
    assert results[0][0].shape == (3, 2, layers.out_channels, 5, 5)
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


def test_branches_share_nothing() -> None:
    layers = HighLevelExtractor(4, width=0.0625, num_branches=2).eval()
    x = torch.randn(2, 1, 4, 44, 44)
    changed = torch.stack([x[0], x[1] + 1])
    first, second = layers.branches(x), layers.branches(changed)
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_branches_come_back_to_their_place() -> None:
    x = torch.randn(3, 2, 4, 5, 6)
    torch.testing.assert_close(split_branches(merge_branches(x), num_branches=3), x)


def test_46_pixels_also_end_at_5() -> None:
    layers = HighLevelExtractor(4, width=0.0625)
    assert layers(torch.randn(1, 4, 46, 46)).shape == (1, layers.out_channels, 5, 5)
