"""Region networks as graphs: nothing in them depends on the batch or on values."""

import pytest
import torch
from torch import Tensor, nn

from aufleet_models import FaceModel, build_model


class _Answer(nn.Module):
    def __init__(self, model: FaceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.model(frames)
        return prediction.probabilities, prediction.landmarks


@pytest.mark.parametrize("name", ["algrnet", "jaanet"])
@torch.no_grad()
def test_an_exported_network_gives_the_same_answers(name: str) -> None:
    torch.manual_seed(0)
    answer = _Answer(build_model(name, task="au", units=[1, 12], width=0.0625)).eval()
    batch = {"frames": {0: torch.export.Dim("batch", min=1, max=64)}}
    graph = torch.export.export(answer, (torch.randn(2, 3, 176, 176),), dynamic_shapes=batch)
    frames = torch.randn(3, 3, 176, 176)
    torch.testing.assert_close(graph.module()(frames), answer(frames))
