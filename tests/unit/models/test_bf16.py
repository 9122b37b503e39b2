"""Forward under bf16 autocast stays within a stated bound of fp32, for networks that have learned.

An untrained network says the same to every frame, which hides what rounding does; here each learns
to tell colours first, until its log-odds spread over the frames.

Where the bounds come from: bf16 has 8 bits, so that each of L layers rounds by 2^-9 of a feature at
most; the errors add up like a random walk, to 2^-9 sqrt(L). With log-odds around 4 and the steepest
slope of the sigmoid, 1/4, a probability moves by 2^-9 sqrt(L), and by about four times as much in
the worst of some dozen answers: 0.035 for the 20 layers in front of a region network's head and
the 18 of ResNet-18, 0.046 for the 34 of LP-Net, 0.055 for the 50 of ResNet-50. Log-odds twice as
large are rounded by twice as much, so that the bound grows with their spread, which differs from
processor to processor after the same steps of training: ResNet-50's is 4 or 8.
Measured are 0.003 to 0.013, 0.06 to 0.09 for ResNet-50 with a spread of 8.

The axial Transformer is no such chain: a batch norm stretches the differences between the logits
of an attention, which are small beside the logits that were rounded, and no root of the width
tames them. Measured 0.18; it belongs into fp32 where probabilities matter.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aufleet_models import FaceModel, Prediction, TrainingStatistics, build_model

UNITS = (1, 4, 12)
BOUNDS = {
    "algrnet": 0.035,
    "lgrnet": 0.035,
    "jaanet": 0.035,
    "mgrrnet": 0.035,
    "lpnet": 0.046,
    "resnet18": 0.035,
    "resnet50": 0.055,
    "medt": 0.25,
}
USUAL_SPREAD = 4
"""Of log-odds, for which the bounds hold."""
LANDMARK_BOUND = 0.5
"""Pixels of the crop; a pixel of a map is 4."""
OPTIONS: dict[str, dict[str, Any]] = {
    "lpnet": {"num_points": 49, "frame_size": 64, "input_size": 64, "hidden": 64},
    "resnet18": {"frame_size": 64},
    "resnet50": {"frame_size": 64},
    "medt": {"input_size": 32, "gate_epochs": 0},
}
NUM_STEPS = {"lpnet": 60}
"""At most; 40 are enough for the others."""


def _batch(side: int, face: Tensor, *, size: int) -> dict[str, Tensor]:
    """Return blurred noise, each colour of which is bright or dark as a unit says."""
    units = torch.randint(0, 2, (size, len(UNITS)))
    coarse = 0.3 * torch.randn(size, 3, 9, 9) + (units - 0.5)[..., None, None]
    frames = functional.interpolate(coarse, (side, side), mode="bilinear")
    return {"frames": frames, "landmarks": face.expand(size, -1, -1).contiguous(), "units": units}


def _trained(name: str, face: Tensor) -> FaceModel:
    torch.manual_seed(0)
    model = build_model(name, task="au", units=UNITS, width=0.125, **OPTIONS.get(name, {}))
    model.use_statistics(TrainingStatistics(mean_shape=face[0]))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(NUM_STEPS.get(name, 40)):
        batch = _batch(32 if name == "medt" else model.frame_size, face, size=8)
        prediction = model(batch["frames"], batch["landmarks"])
        losses = model.loss(prediction, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        if losses["total"].isfinite() and _separates(prediction, batch):
            break
    return model.eval()


def _separates(prediction: Prediction, batch: dict[str, Tensor]) -> bool:
    """Return whether every answer of a batch is right and sure."""
    signs = 2 * batch["units"] - 1
    return bool((prediction.logits * signs).min() > 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bound"), BOUNDS.items())
def test_probabilities_under_bf16_stay_within_their_bound(
    name: str, bound: float, face: Tensor
) -> None:
    model = _trained(name, face)
    batch = _batch(32 if name == "medt" else model.frame_size, face, size=24)
    given = batch["frames"], batch["landmarks"]
    with torch.no_grad():
        exact = model(*given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            near = model(*given)
    spread = float(exact.logits.std(0).mean())
    assert spread > 1
    assert near.probabilities.dtype == torch.float32
    difference = (near.probabilities - exact.probabilities).abs().max()
    assert 1e-5 < difference < bound * max(1, spread / USUAL_SPREAD)
    if exact.landmarks is not None:
        assert near.landmarks is not None
        assert (near.landmarks - exact.landmarks).abs().max() < LANDMARK_BOUND


@torch.no_grad()
def test_jaanet_of_the_published_width_rounds_no_worse(face: Tensor) -> None:
    torch.manual_seed(0)
    model = build_model("jaanet", task="au", units=UNITS)
    model.use_statistics(TrainingStatistics(mean_shape=face[0]))
    frames = _batch(176, face, size=2)["frames"]
    model(frames)  # running statistics
    exact = model.eval()(frames[:1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = model(frames[:1])
    torch.testing.assert_close(near.probabilities, exact.probabilities, atol=1e-3, rtol=0)
