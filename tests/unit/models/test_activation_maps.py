import pytest
import torch
from torch import Tensor

from aufleet_models import build_model, list_models
from aufleet_models.activation_maps import class_activation_maps, find_evidence
from aufleet_models.contract import FaceModel
from aufleet_models.region_model import RegionModel

UNITS = [1, 4, 12]
NUM_CELLS = 25


def _network(name: str, task: str = "au", **options: object) -> FaceModel:
    torch.manual_seed(0)
    units = UNITS if task == "au" else None
    settings = {"width": 0.125} | options
    return build_model(name, task=task, units=units, **settings).eval()


def _frames(network: FaceModel, *, batch: int = 1) -> Tensor:
    size = network.frame_size
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def _landmarks(network: FaceModel, *, batch: int = 1) -> Tensor | None:
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(batch, 68, 2, generator=generator) * 100
    return points[:, : network.num_points] if network.num_points else None


@pytest.mark.parametrize("task", ["au", "palsy"])
@pytest.mark.parametrize("name", list_models())
def test_every_network_says_where_it_looked(name: str, task: str) -> None:
    network = _network(name, task).train()
    frames, landmarks = _frames(network, batch=2), _landmarks(network, batch=2)
    evidence = find_evidence(network, frames, landmarks)
    assert network.training
    assert all(part.grad is None and part.requires_grad for part in network.parameters())
    with torch.no_grad():
        prediction = network.eval()(frames, landmarks)
    torch.testing.assert_close(evidence.prediction.logits, prediction.logits, rtol=1e-4, atol=1e-5)
    assert not evidence.prediction.logits.requires_grad
    num_answers, size = prediction.logits.shape[1], frames.shape[-1]
    assert evidence.density.shape == (2, num_answers, size, size)
    assert evidence.density.isfinite().all()
    assert evidence.density.abs().amax(dim=(2, 3)).min() > 0
    maps = class_activation_maps(evidence.density)
    assert maps.min() >= 0
    assert set(maps.amax(dim=(2, 3)).flatten().tolist()) <= {0.0, 1.0}


def test_a_frame_is_judged_by_itself() -> None:
    network = _network("algrnet")
    frames = _frames(network, batch=2)
    both, first = find_evidence(network, frames), find_evidence(network, frames[:1])
    torch.testing.assert_close(both.density[:1], first.density, rtol=1e-3, atol=1e-5)


def test_what_speaks_against_an_answer_is_no_activation() -> None:
    density = torch.tensor([[[-2.0, 0.0], [1.0, 4.0]], [[-1.0, -3.0], [0.0, -1.0]]])
    maps = class_activation_maps(density)
    assert maps.tolist() == [[[0, 0], [0.25, 1]], [[0, 0], [0, 0]]]


@torch.no_grad()
def test_maps_of_an_averaging_network_are_the_original_ones() -> None:
    network = _network("resnet18")
    frames = _frames(network)
    feature = network.stem(frames)
    classic = torch.einsum("uc,cyx->uyx", network.classifier.weight, feature[0]) / 36
    density = find_evidence(network, frames).density[0]
    # Place k of a residual trunk looks at pixel 32 k.
    torch.testing.assert_close(density[:, ::32, ::32] * (32 / 176) ** 2, classic)


@pytest.mark.parametrize("width", [0.125, 0.4])
@pytest.mark.parametrize(
    ("name", "options"), [("lgrnet", {}), ("jaanet", {}), ("mgrrnet", {"local_head": False})]
)
@torch.no_grad()
def test_evidence_and_biases_make_up_the_answer_of_linear_heads(
    name: str, options: dict, width: float
) -> None:
    # 0.4: as many channels as make branches run one after the other.
    network = _network(name, width=width, **options)
    frames = _frames(network)
    evidence = find_evidence(network, frames)
    assert isinstance(network, RegionModel)
    seen = network.describe(frames)
    parts = (seen.regions, seen.contexts, seen.overview)
    biases = network.readout(*(torch.zeros_like(part) for part in parts)).logits
    found = evidence.density.mean(dim=(2, 3))
    torch.testing.assert_close(found + biases, evidence.prediction.logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("row", "column"), [(0, 1), (2, 2), (4, 3)])
@torch.no_grad()
def test_a_head_that_reads_one_cell_is_found_there(row: int, column: int) -> None:
    network = _network("lgrnet")
    assert isinstance(network, RegionModel)
    local = network.readout.local
    assert local is not None
    cells = torch.arange(local.hidden.weight.shape[1]) % NUM_CELLS
    local.hidden.weight[:, cells != row * 5 + column] = 0
    density = find_evidence(network, _frames(network)).density[0].abs().amax(dim=0)
    # A cell of 32 pixels; half a place of 16 more on each side is drawn with it.
    ys, xs = (density > 0).nonzero().T
    assert 32 * row - 8 <= ys.min()
    assert ys.max() < 32 * (row + 1) + 8
    assert 32 * column - 8 <= xs.min()
    assert xs.max() < 32 * (column + 1) + 8
