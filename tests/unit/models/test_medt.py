import pytest
import torch

from aufleet_models import build_model
from aufleet_models.layers.axial import AxialAttention
from aufleet_models.medt import MedT, MedTOptions


def _small() -> MedT:
    torch.manual_seed(0)
    model = build_model("medt", task="palsy", width=0.125, input_size=32)
    assert isinstance(model, MedT)
    return model


@pytest.mark.parametrize(("size", "encoder"), [(128, 344_880), (176, 349_104), (224, 353_328)])
def test_parameter_counts_follow_the_axis_lengths(size: int, encoder: int) -> None:
    with torch.device("meta"):
        model = build_model("medt", task="palsy", input_size=size)
    total = sum(parameter.numel() for parameter in model.parameters())
    head = sum(parameter.numel() for parameter in model.classifier.parameters())
    assert (total - head, total) == (encoder, encoder + 1028)


def test_frames_are_resized_to_the_side_at_which_the_encoder_works() -> None:
    model = _small().eval()
    assert model.frame_size == 176
    assert model(torch.zeros(1, 3, 176, 176)).logits.shape == (1, 4)


def test_a_side_that_cannot_be_halved_four_times_is_refused() -> None:
    with pytest.raises(ValueError, match="input_size is 100: a multiple of 16"):
        build_model("medt", task="palsy", input_size=100)


def test_gates_start_at_the_published_values() -> None:
    for module in _small().modules():
        if isinstance(module, AxialAttention):
            torch.testing.assert_close(module.gates.data, torch.tensor([0.1, 0.1, 0.1, 1.0]))


def test_frozen_gates_stay_while_the_rest_learns() -> None:
    model = _small()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    gates = {name: p for name, p in model.named_parameters() if name.endswith("gates")}
    batch = {"grade": torch.arange(4)}
    frames = torch.randn(4, 3, 32, 32)

    def changed(frozen: bool) -> set[str]:
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.freeze_gates(frozen=frozen)
        optimizer.zero_grad()
        model.loss(model(frames), batch)["total"].backward()
        optimizer.step()
        return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}

    first = changed(frozen=True)
    assert first
    assert not first & set(gates)
    assert set(gates) <= changed(frozen=False)


def test_gates_are_frozen_for_the_published_number_of_epochs() -> None:
    model = _small()
    frozen = []
    for epoch in range(1, 13):
        model.start_epoch(epoch)
        frozen.append({one.gates_frozen for one in model.modules() if hasattr(one, "gates_frozen")})
    assert frozen == 10 * [{True}] + 2 * [{False}]
    never = build_model("medt", task="palsy", width=0.125, input_size=32, gate_epochs=0)
    never.start_epoch(1)
    assert not any(getattr(one, "gates_frozen", False) for one in never.modules())


def _gradient_growth(attention_slope: float) -> float:
    """Return how much larger the gradient is at the first block than at the last."""
    torch.manual_seed(0)
    options = {"input_size": 48, "attention_slope": attention_slope, "zero_start": False}
    model = build_model("medt", task="au", units=[1, 12], width=0.5, **options)
    smooth = torch.nn.functional.interpolate(torch.rand(8, 3, 6, 6), (48, 48), mode="bilinear")
    seen = []
    for block in model.get_submodule("blocks").children():
        block.register_forward_hook(lambda _, args, output: seen.append(output))
    prediction = model(2 * smooth - 1)
    for output in seen:
        output.retain_grad()
    model.loss(prediction, {"units": torch.tensor([[0, 1], [1, 0]] * 4)})["total"].backward()
    first, last = (float(one.grad.norm() * one.detach().std()) for one in (seen[0], seen[-1]))
    return first / last


def test_gradients_stay_as_large_from_the_last_block_to_the_first() -> None:
    assert _gradient_growth(MedTOptions().attention_slope) < 3
    assert _gradient_growth(1.0) > 30  # as published


@torch.no_grad()
def test_blocks_begin_as_their_shortcuts() -> None:
    torch.manual_seed(0)
    model = build_model("medt", task="au", units=[1], width=0.5, input_size=32)
    for block in model.get_submodule("blocks").children():
        size = block.get_submodule("height").length
        features = torch.randn(2, block.get_submodule("down").in_channels, size, size)
        shortcut = block.get_submodule("shortcut")(features).relu()
        torch.testing.assert_close(block(features), shortcut)
