"""A mirrored frame gives the same answer where a whole-face network's weights are symmetric.

Channels go in pairs that the mirror exchanges; a kernel is the mirror image of its partner's.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet.domain.landmarks import MIRROR_49
from aufleet_models import FaceModel, Prediction, build_model
from aufleet_models.layers.axial import AxialAttention, AxialBlock
from aufleet_models.layers.palsy_heads import PalsyHeads
from aufleet_models.layers.region_lstm import RegionLstms
from aufleet_models.layers.residual import ResidualTrunk
from aufleet_models.lpnet import PersonNet

MIRROR = MIRROR_49.tolist()
SIDES = [0, 2, 1]
# An odd side stays odd in every stage of a ResNet: strides then keep the middle in the middle.
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"frame_size": 65, "width": 0.125},
    "resnet50": {"frame_size": 65, "width": 0.125},
    "lpnet": {"frame_size": 65, "input_size": 65, "num_points": 49, "width": 0.125},
    "medt": {"input_size": 32, "width": 0.125, "zero_start": False},
}

Involution = Callable[[Tensor], Tensor]


def mirror_points(points: Tensor, *, width: int = 65) -> Tensor:
    """Return landmarks (B, 49, 2) of the mirrored crop."""
    mirrored = points[:, MIRROR].clone()
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored


@torch.no_grad()
def disturb(model: nn.Module) -> None:
    """Leave no batch norm at the tidy values it starts with."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.2, 0.2)


@torch.no_grad()
def symmetrise(model: FaceModel) -> None:
    """Average all weights with their mirror images."""
    paired = not any(isinstance(module, AxialBlock) for module in model.modules())
    for module in model.modules():
        for kind, tied in _TIED:
            if isinstance(module, kind):
                tied(module, paired=paired)
    if isinstance(classifier := getattr(model, "classifier", None), nn.Linear) and paired:
        tie(classifier.weight, lambda w: w[:, _pairs(w.shape[1])])


def tie(tensor: Tensor | None, image: Involution) -> None:
    """Average a tensor with its image."""
    if tensor is not None:
        tensor.copy_((tensor + image(tensor)) / 2)


def _pairs(size: int) -> list[int]:
    """Exchange neighbours: 1 0 3 2 ..."""
    return [number ^ 1 for number in range(size)]


def _trunk(trunk: ResidualTrunk, **_: Any) -> None:
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            out, into = _pairs(module.out_channels), _pairs(module.in_channels)
            into = into if module.in_channels > 3 else [0, 1, 2]
            tie(module.weight, lambda w, o=out, i=into: w[o][:, i].flip(-1))
        elif isinstance(module, nn.BatchNorm2d):
            pairs = _pairs(module.num_features)
            for tensor in (module.weight, module.bias):
                tie(tensor, lambda t, p=pairs: t[p])


def _axial(attention: AxialAttention, **_: Any) -> None:
    tie(attention.positions, lambda p: p.flip(1))


def _convolution(conv: nn.Conv2d, *, paired: bool) -> None:
    """Tie the kernel of a convolution over maps with an even side; its channels stay in place."""
    if paired:
        return
    if conv.stride == (2, 2) and conv.kernel_size[0] > 1:
        # The first tap has no partner: the middle of the frame lies right of the middle tap.
        conv.weight[..., 0] = 0
        tie(conv.weight[..., 1:], lambda w: w.flip(-1))
    else:
        tie(conv.weight, lambda w: w.flip(-1))


def _shortcut(block: AxialBlock, **_: Any) -> None:
    """Leave a strided shortcut out: it sees the left one of two pixels only."""
    for module in block.shortcut.modules():
        if isinstance(module, nn.Conv2d) and not isinstance(block.pool, nn.Identity):
            module.weight.zero_()


def _forget(lstms: RegionLstms, **_: Any) -> None:
    """Let LSTMs remember nothing: regions come row by row, in an order that mirrors do not keep."""
    lstms.weight_hidden.zero_()
    forget = slice(lstms.hidden, 2 * lstms.hidden)
    lstms.weight_input[:, forget] = 0
    lstms.bias_input[:, forget] = -1e4
    pairs = _pairs(lstms.weight_input.shape[2])
    tie(lstms.weight_input, lambda w: w[..., pairs])


def _person(net: PersonNet, **_: Any) -> None:
    columns = [2 * point + axis for point in MIRROR for axis in (0, 1)]
    signs = torch.tensor([-1.0, 1.0] * len(MIRROR))
    hidden, features = _pairs(net.hidden.out_features), _pairs(net.features.out_features)
    tie(net.hidden.weight, lambda w: w[hidden][:, columns] * signs)
    tie(net.hidden.bias, lambda b: b[hidden])
    tie(net.features.weight, lambda w: w[features][:, hidden])
    tie(net.features.bias, lambda b: b[features])
    tie(net.shifts.weight, lambda w: w[:, features])


def _whole_face_heads(heads: PalsyHeads, *, paired: bool) -> None:
    for name, head in heads.parts.items():
        assert isinstance(head, nn.Linear)
        order = SIDES if name == "side" else _pairs(head.out_features)
        into = _pairs(head.in_features) if paired else list(range(head.in_features))
        tie(head.weight, lambda w, o=order, i=into: w[o][:, i])
        tie(head.bias, lambda b, o=order: b[o])


_TIED: tuple[tuple[type[nn.Module], Callable[..., None]], ...] = (
    (ResidualTrunk, _trunk),
    (AxialAttention, _axial),
    (AxialBlock, _shortcut),
    (nn.Conv2d, _convolution),
    (RegionLstms, _forget),
    (PersonNet, _person),
    (PalsyHeads, _whole_face_heads),
)


def _answers(model: FaceModel, face: Tensor) -> tuple[Prediction, Prediction]:
    """Return what is said of three frames and of their mirror images."""
    side = model.frame_size
    # Blurred, so that frames differ where a network averages.
    frames = torch.rand(3, 3, 9, 9, dtype=torch.float64) * 2 - 1
    frames = functional.interpolate(frames, (side, side), mode="bilinear")
    points = (face * side / 176).double() + 4 * torch.randn(3, 49, 2)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        # Running statistics of these frames both ways are mirror images of each other.
        both = torch.cat([frames, frames.flip(-1)]), torch.cat([points, mirror_points(points)])
        model.train()(*both)
        model.eval()
        return model(frames, points), model(frames.flip(-1), mirror_points(points))


@pytest.mark.parametrize("task", ["au", "palsy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_units_and_grades_stay_and_sides_and_regions_are_exchanged(
    name: str, task: str, face: Tensor
) -> None:
    torch.manual_seed(0)
    about = {"units": [1, 12, 24]} if task == "au" else {"side_head": True, "region_head": True}
    model = build_model(name, task=task, **about, **NETWORKS[name])
    disturb(model.double())
    straight, mirrored = _answers(model, face)
    assert (mirrored.probabilities - straight.probabilities).abs().max() > 1e-3
    symmetrise(model)
    straight, mirrored = _answers(model, face)
    assert straight.probabilities.std(dim=0).max() > 1e-3  # the frames are told apart
    torch.testing.assert_close(mirrored.probabilities, straight.probabilities, atol=1e-5, rtol=0)
    if task == "palsy":
        _sides_are_exchanged(straight, mirrored)
        if name != "medt":  # whose channels all stay where they are
            assert straight.side is not None
            assert (straight.side[:, 1] - straight.side[:, 2]).abs().max() > 1e-3


def _sides_are_exchanged(straight: Prediction, mirrored: Prediction) -> None:
    assert straight.side is not None
    assert mirrored.side is not None
    assert straight.regions is not None
    assert mirrored.regions is not None
    partner = [number ^ 1 for number in range(12)]
    torch.testing.assert_close(mirrored.side, straight.side[:, SIDES], atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored.regions, straight.regions[:, partner], atol=1e-5, rtol=0)
