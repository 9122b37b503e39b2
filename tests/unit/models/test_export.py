"""Networks as graphs: nothing in them depends on the batch or on values."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aufleet_models import FaceModel, build_model, list_models
from aufleet_models.catalog import CATALOG
from aufleet_models.region_model import RegionModel

SMALL: dict[str, dict[str, Any]] = {
    "algrnet": {"width": 0.0625},
    "lgrnet": {"width": 0.0625},
    "jaanet": {"width": 0.0625},
    "mgrrnet": {"width": 0.0625},
    "lpnet": {"width": 0.0625, "num_points": 49, "frame_size": 64, "input_size": 64},
    "resnet18": {"width": 0.0625, "frame_size": 64},
    "resnet50": {"width": 0.0625, "frame_size": 64},
    "medt": {"width": 0.125, "input_size": 32, "zero_start": False},
}
HEADS = {"side_head": True, "region_head": True}
# Two regions make a graph that is traced six times as fast as one of twelve.
MOUTH = {"palsy_regions": [[[31, 0, 0]], [[37, 0, 0]]]}


class _Answer(nn.Module):
    """All tensors that a prediction has."""

    def __init__(self, model: FaceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor, landmarks: Tensor) -> list[Tensor]:
        said = self.model(frames, landmarks)
        parts = (said.logits, said.probabilities, said.landmarks, said.maps)
        return [part for part in (*parts, said.side, said.regions) if part is not None]


def _inputs(model: FaceModel, *, batch: int) -> tuple[Tensor, Tensor]:
    frames = torch.randn(batch, 3, model.frame_size, model.frame_size)
    landmarks = 40 * torch.rand(batch, 49, 2)
    landmarks[:, 25:31, 0] += 60
    return frames, landmarks


@pytest.mark.parametrize("task", ["au", "palsy"])
@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_an_exported_network_gives_the_same_answers(name: str, task: str) -> None:
    torch.manual_seed(0)
    about = {"units": [1, 12]} if task == "au" else HEADS
    if task == "palsy" and issubclass(CATALOG[name].build, RegionModel):
        about = HEADS | MOUTH
    model = build_model(name, task=task, **about, **SMALL[name])
    model(*_inputs(model, batch=4))  # running statistics
    answer = _Answer(model).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    graph = torch.export.export(
        answer, _inputs(model, batch=2), dynamic_shapes={"frames": batch, "landmarks": batch}
    )
    for size in (1, 3):
        given = _inputs(model, batch=size)
        torch.testing.assert_close(graph.module()(*given), answer(*given))
