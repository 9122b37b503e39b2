import pytest
import torch

from aufleet_models import TrainingStatistics, build_model
from aufleet_models.layers.heads import mean_of_probabilities

UNITS = (26, 1, 12)


def _answer(name: str, **options):
    torch.manual_seed(0)
    model = build_model(name, task="au", units=UNITS, width=0.0625, **options)
    return model, model(torch.randn(2, 3, 176, 176))


@torch.no_grad()
def test_algrnet_answers_with_the_mean_of_two_probabilities() -> None:
    _, answer = _answer("algrnet")
    heads = [answer.heads[name].sigmoid() for name in ("local", "integrated")]
    torch.testing.assert_close(answer.probabilities, (heads[0] + heads[1]) / 2)


@torch.no_grad()
def test_lgrnet_answers_with_its_local_heads() -> None:
    _, answer = _answer("lgrnet")
    assert set(answer.heads) == {"local"}
    torch.testing.assert_close(answer.logits, answer.heads["local"])


@torch.no_grad()
def test_jaanet_answers_with_its_integrated_head() -> None:
    _, answer = _answer("jaanet")
    assert set(answer.heads) == {"local", "integrated"}
    torch.testing.assert_close(answer.logits, answer.heads["integrated"])


def test_jaanets_integrated_head_does_not_train_the_regions() -> None:
    model, answer = _answer("jaanet")
    answer.heads["integrated"].sum().backward()
    assert model.local.layers[0].conv.weight.grad is None
    assert model.overview.layers[0].conv.weight.grad is not None


@torch.no_grad()
def test_maps_and_local_answers_come_in_the_order_of_the_units() -> None:
    model, _ = _answer("algrnet")
    assert [UNITS[number] for number in model.order] == [1, 12, 26]
    model.eval()
    frames = torch.randn(1, 3, 176, 176)
    before = model(frames)
    # The chin's unit is the last branch and the first answer.
    model.readout.local.states.bias[2] += torch.tensor([0.0, 5.0])
    after = model(frames)
    changed = (after.heads["local"] - before.heads["local"])[0]
    torch.testing.assert_close(changed, torch.tensor([5.0, 0.0, 0.0]), atol=1e-4, rtol=0)
    rows = torch.arange(44.0)[None, :, None]
    heights = (before.maps[0] * rows).sum((1, 2)) / before.maps[0].sum((1, 2)).clamp_min(1e-6)
    expected = model.centres(before.landmarks)[0, [2, 0, 1], :, 1].mean(1) / 4
    inside = (expected > 3) & (expected < 40)
    torch.testing.assert_close(heights[inside], expected[inside], atol=4, rtol=0)


def test_extreme_log_odds_have_a_finite_mean() -> None:
    first = torch.tensor([100.0, -100.0, 0.0, 90.0], requires_grad=True)
    second = torch.tensor([100.0, -100.0, 0.0, -90.0])
    mean = mean_of_probabilities(first, second)
    torch.testing.assert_close(mean, torch.tensor([100.0, -100.0, 0.0, 0.0]), atol=1e-4, rtol=0)
    (gradient,) = torch.autograd.grad(mean.sum(), first)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["algrnet", "lgrnet", "jaanet"])
@torch.no_grad()
def test_landmarks_start_at_the_mean_shape(name: str, face) -> None:
    torch.manual_seed(0)
    model = build_model(name, task="au", units=UNITS, width=0.0625)
    model.use_statistics(
        TrainingStatistics(positive_rates=torch.tensor([0.5, 0.25, 0.25]), mean_shape=face[0])
    )
    landmarks = model(torch.randn(2, 3, 176, 176)).landmarks
    assert (landmarks - face).abs().max() < 10
    torch.testing.assert_close(model.balance, torch.tensor([0.6, 1.2, 1.2]))
    assert "mean_shape" in model.state_dict()


@torch.no_grad()
def test_parity_mode_starts_at_zero(face) -> None:
    model = build_model("jaanet", task="au", units=UNITS, width=0.0625, parity=True)
    model.use_statistics(TrainingStatistics(mean_shape=face[0]))
    assert model(torch.randn(2, 3, 176, 176)).landmarks.abs().max() < 10


def test_the_palsy_head_each_keeps_regions_apart() -> None:
    model = build_model("algrnet", task="palsy", width=0.0625, palsy_head="each")
    features = model.readout.grades.hidden.in_features
    assert features == 13 * model.alignment.out_channels
    answer = model(torch.randn(2, 3, 176, 176))
    torch.testing.assert_close(answer.probabilities.sum(1), torch.ones(2))
