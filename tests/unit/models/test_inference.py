"""The wrapper that makes networks ready to answer."""

import pytest
import torch
from torch import nn

from aufleet_models import FaceModel, Prediction, build_model, inference
from aufleet_models.inference import InferenceModel

UNITS = [1, 4, 12, 25]
SMALL = {
    "resnet18": {"frame_size": 64},
    "resnet50": {"frame_size": 64},
    "medt": {"input_size": 32, "zero_start": False},
    "lpnet": {"num_points": 49, "frame_size": 64, "input_size": 64, "hidden": 64},
}
NAMES = ["algrnet", "lgrnet", "mgrrnet", "jaanet", *SMALL]


def _model(name: str, task: str = "au") -> FaceModel:
    torch.manual_seed(0)
    units = UNITS if task == "au" else None
    model = build_model(name, task=task, units=units, width=0.125, **SMALL.get(name, {}))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():
        for seed in range(1, 5):
            model(*_inputs(model, batch=2, seed=seed))
    return model.eval()


def _inputs(model: FaceModel, *, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    size = model.frame_size
    points = torch.rand(batch, 49, 2, generator=source) * 40 + 60
    points[:, 25:31, 0] += 50
    return torch.rand(batch, 3, size, size, generator=source) * 2 - 1, points


@pytest.mark.parametrize("task", ["au", "palsy"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_answers_are_those_of_the_network(name: str, task: str) -> None:
    model = _model(name, task)
    fast = InferenceModel(model, precision="fp32")
    for batch in (3, 1):
        frames, points = _inputs(model, batch=batch)
        expected, answer = model(frames, points), fast(frames, points)
        torch.testing.assert_close(answer.probabilities, expected.probabilities, atol=1e-4, rtol=0)
        if expected.landmarks is not None:
            torch.testing.assert_close(answer.landmarks, expected.landmarks, atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_bf16_answers_stay_near(name: str) -> None:
    """Within 0.03, 0.06 behind fifty layers: few channels average little of the rounding out.

    At full width the bound is 0.01, see tests/benchmarks/forward.py.
    """
    model = _model(name)
    fast = InferenceModel(model, precision="bf16")
    frames, points = _inputs(model, batch=2)
    expected, answer = model(frames, points), fast(frames, points)
    assert answer.probabilities.dtype == torch.float32
    bound = 0.06 if name == "resnet50" else 0.03
    torch.testing.assert_close(answer.probabilities, expected.probabilities, atol=bound, rtol=0)
    if expected.landmarks is not None:
        # What decides where maps are drawn is exact: a map would jump by a whole pixel.
        torch.testing.assert_close(answer.landmarks, expected.landmarks, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("bf16", "dtype"), [(True, "bf16"), (False, "fp32")])
def test_the_choice_follows_the_processor_and_says_why(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, dtype: str
) -> None:
    monkeypatch.setattr(inference, "has_bf16", lambda _: bf16)
    choice = InferenceModel(_model("resnet18")).choice
    assert str(choice).startswith(f"cpu, {dtype} (it has {'' if bf16 else 'no '}bf16 instructions)")


def test_a_network_that_does_not_bear_bf16_keeps_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "has_bf16", lambda _: True)
    choice = InferenceModel(_model("medt")).choice
    assert choice.dtype is torch.float32
    assert choice.reason == "bf16 would change the answers"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision is 'fp8': choose one of auto, fp32, bf16"):
        InferenceModel(_model("resnet18"), precision="fp8")  # pyright: ignore[reportArgumentType]


@torch.no_grad()
def test_the_network_itself_is_not_changed() -> None:
    model = _model("algrnet")
    frames, _ = _inputs(model, batch=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = model(frames).logits
    InferenceModel(model, precision="bf16")(frames)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    torch.testing.assert_close(model(frames).logits, expected, atol=0, rtol=0)
    assert all(parameter.requires_grad for parameter in model.parameters())


class _Pair(nn.Module):
    """Calls two networks, as an ensemble does."""

    def __init__(self, first: FaceModel, second: FaceModel) -> None:
        super().__init__()
        self.members = nn.ModuleList([first, second])

    def forward(self, frames: torch.Tensor, landmarks: torch.Tensor | None) -> Prediction:
        first, second = (member(frames, landmarks) for member in self.members)
        logits = (first.logits + second.logits) / 2
        return Prediction(logits=logits, probabilities=logits.sigmoid())


@torch.no_grad()
def test_the_members_of_an_ensemble_are_folded() -> None:
    pair = _Pair(_model("jaanet"), _model("jaanet"))
    fast = InferenceModel(pair, precision="fp32")
    assert not any(
        isinstance(module, nn.BatchNorm2d) for module in fast.model.members[0].local.modules()
    )
    frames, _ = _inputs(pair.members[0], batch=2)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(fast(frames).logits, pair(frames, None).logits, atol=1e-4, rtol=0)
