"""Class activation maps: where in the frame a network found what speaks for each of its answers.

The last convolutional feature is weighted by the gradient of an answer's log-odds, as Grad-CAM
does (Selvaraju et al. 2017), but place by place (HiResCAM, Draelos & Carin 2020): the heads of the
region networks read each place of the feature with weights of its own, and gradients averaged over
the places would mix them up. Where a network averages its feature over the frame (ResNet, MedT)
both are the same, and equal to the original maps of Zhou et al. 2016.

Shapes: B batch, O answers (units or grades), S side of the crop.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aufleet_models.contract import FaceModel, Prediction
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.residual import ResidualTrunk
from aufleet_models.medt import MedT
from aufleet_models.region_model import RegionModel

RESIDUAL_STEP = 32
"""Pixels between two places of a residual trunk's feature; the first looks at pixel 0."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a network says of a batch, and where it found it.

    Attributes:
        prediction: The network's prediction.
        density: (B, O, S, S) what each place adds to the log-odds of a unit, or to the unnormalised
            log-probability of a grade, per area of the crop: where the heads are linear, its mean
            and their biases make up the answer. (The first row and column of a residual trunk look
            half outside of the crop and count half.)
    """

    prediction: Prediction
    density: Tensor


def find_evidence(network: FaceModel, frames: Tensor, landmarks: Tensor | None = None) -> Evidence:
    """Return the prediction and the evidence for each answer.

    Args:
        network: Any network of the catalog, not folded; it is left as it is.
        frames: (B, 3, S, S) in [-1, 1].
        landmarks: As `forward` takes them.
    """
    seen_through = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(seen_through, RegionModel):
        # Kept from training the regions, a head still reads them.
        seen_through.readout.detach_mean = False
    with torch.enable_grad(), _watched(seen_through) as features:
        prediction = seen_through(frames, landmarks)
        density = [
            _density(answer, features, size=frames.shape[-1])
            for answer in prediction.logits.float().sum(dim=0)
        ]
    return Evidence(prediction=_without_graph(prediction), density=torch.stack(density, dim=1))


def class_activation_maps(density: Tensor) -> Tensor:
    """Return maps in [0, 1] of what speaks for an answer, each with 1 at its strongest place.

    A map is 0 everywhere where nothing speaks for the answer.

    Args:
        density: (..., S, S) of `Evidence`.
    """
    positive = density.clamp_min(0)
    strongest = positive.amax(dim=(-2, -1), keepdim=True)
    return positive / strongest.clamp_min(torch.finfo(positive.dtype).tiny)


@dataclass(frozen=True, kw_only=True)
class _Feature:
    """A convolutional feature (B, C, s, s), cut off from what lies before it."""

    values: Tensor
    first: float
    """Where its first place lies, as a share of the frame's side."""
    step: float
    """Distance of two places, in the same unit."""


def _density(answer: Tensor, features: list[_Feature], *, size: int) -> Tensor:
    """Return (B, size, size): what the places of all features add to an answer."""
    slopes = torch.autograd.grad(
        answer, [feature.values for feature in features], retain_graph=True, allow_unused=True
    )
    parts = [
        _spread((slope * feature.values.detach()).sum(dim=1), feature, size=size)
        for feature, slope in zip(features, slopes, strict=True)
        if slope is not None
    ]
    return torch.stack(parts).sum(dim=0)


def _spread(values: Tensor, feature: _Feature, *, size: int) -> Tensor:
    """Return (B, size, size) for a value per place, straight lines between the places."""
    num = values.shape[-1]
    pixels = (torch.arange(size, device=values.device) + 0.5) / size
    places = ((pixels - feature.first) / feature.step).clamp(0, num - 1)
    nearness = 1 - (places[:, None] - torch.arange(num, device=values.device)).abs()
    weights = nearness.clamp_min(0).to(values.dtype)
    return weights @ values @ weights.T / feature.step**2


@contextmanager
def _watched(network: FaceModel) -> Iterator[list[_Feature]]:
    """Collect the last convolutional features of each forward pass.

    The graph is cut at each of them, so that an answer's gradient comes from the heads alone: a
    feature that also steers another one, such as the place of a region, is not counted twice.
    """
    features: list[_Feature] = []

    def cut(_module: nn.Module, given: tuple, result: Tensor | list[Tensor]) -> Tensor | list:
        maps = result if isinstance(result, list) else [result]
        leaves = [values.detach().requires_grad_() for values in maps]
        features.extend(_locate(network, leaf, given[0]) for leaf in leaves)
        # Copies: what follows may write in place, which a leaf forbids.
        copies = [leaf.clone() for leaf in leaves]
        return copies if isinstance(result, list) else copies[0]

    hooks = [module.register_forward_hook(cut) for module in _last_layers(network)]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def _last_layers(network: FaceModel) -> list[nn.Module]:
    if isinstance(network, RegionModel):
        # The norm, not the layer: branches that run one after the other call no more than that.
        extractors = [one for one in network.modules() if isinstance(one, HighLevelExtractor)]
        return [one.get_submodule(f"layers.{len(one.layers) - 1}.norm") for one in extractors]
    if isinstance(network, MedT):
        return [network.blocks]
    return [module for module in network.modules() if isinstance(module, ResidualTrunk)]


def _locate(network: FaceModel, values: Tensor, given: Tensor | list[Tensor]) -> _Feature:
    """Return the feature with the place of its values in the frame."""
    num = values.shape[-1]
    if isinstance(network, RegionModel | MedT) or isinstance(given, list):
        return _Feature(values=values, first=0.5 / num, step=1 / num)
    # A trunk's strided convolutions are padded on both sides: place k looks at pixel 32 k.
    size = given.shape[-1]
    return _Feature(values=values, first=0.5 / size, step=RESIDUAL_STEP / size)


def _without_graph(prediction: Prediction) -> Prediction:
    tensors = {
        name: part.detach() for name, part in vars(prediction).items() if isinstance(part, Tensor)
    }
    heads = {name: part.detach() for name, part in prediction.heads.items()}
    return replace(prediction, heads=heads, **tensors)
