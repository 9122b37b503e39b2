"""A mirrored frame gives mirrored landmarks and the same units where the weights are symmetric.

Every `tie` averages a tensor with its image under an involution, so that a layer commutes with the
mirror. A channel of a map shows the mirrored map on a mirrored face; hidden units of fully
connected layers go in pairs that the mirror exchanges.

Three things of the published networks have no mirror image, whatever their weights are: the last
pooling, 11 to 5, leaves the last column out; maps are drawn at `x * S / 176`, which mirrors to
three quarters of a map pixel beside the mirrored place; and a box of an odd side around the middle
of a face cannot lie in the middle of a map of an even side. The first two are replaced here; for
the third, regions in the middle of the face are drawn soft only (ALGRNet).
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet.domain.landmarks import MIRROR_49
from aufleet_models import Prediction, TrainingStatistics, build_model
from aufleet_models.layers.adaptive import AdaptiveRegions
from aufleet_models.layers.alignment import AlignmentNet
from aufleet_models.layers.branches import BranchLinear
from aufleet_models.layers.centres import STACKED_CENTRES
from aufleet_models.layers.fusion import GlobalFusion
from aufleet_models.layers.graph import GlobalLevel, RegionGraph
from aufleet_models.layers.heads import IntegratedHead, LocalHeads
from aufleet_models.layers.high_level import ConvNorm
from aufleet_models.layers.local_region import LocalRegionConv
from aufleet_models.layers.maps import FRAME_SIZE
from aufleet_models.layers.palsy_heads import PalsyHeads
from aufleet_models.layers.refinement import AttentionRefinement
from aufleet_models.region_model import RegionModel

MIRROR = MIRROR_49.tolist()
SIDES = [0, 2, 1]
MIDDLE = 87.5
BESIDE_THE_MIDDLE = (1, 2, 4, 12, 17)
REGION_NETWORKS = ("algrnet", "lgrnet", "jaanet", "mgrrnet")
HEADS = {"side_head": True, "region_head": True}

Involution = Callable[[Tensor], Tensor]


def mirror_points(points: Tensor, *, width: int = 176) -> Tensor:
    """Return landmarks (B, 49, 2) of the mirrored crop."""
    mirrored = points[:, MIRROR].clone()
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored


@torch.no_grad()
def disturb(model: RegionModel) -> None:
    """Leave nothing at the tidy value it starts with, so that no symmetry comes for free."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.2, 0.2)
        if isinstance(module, AdaptiveRegions):
            for net in (module.offset, module.scale):
                nn.init.normal_(net[2].weight, std=0.1)  # pyright: ignore
        if isinstance(module, RegionGraph):
            nn.init.uniform_(module.adjacency, 0, 0.3)
        if isinstance(module, AlignmentNet):
            module.points.weight *= 20  # some pixels: faces of which one half is not the other


@torch.no_grad()
def symmetrise(model: RegionModel) -> None:
    """Average all weights with their mirror images."""
    partner = _partner(model)
    _plain_convolutions(model)
    for module in model.modules():
        for kind, tied in _TIED:
            if isinstance(module, kind):
                tied(module, model=model, partner=partner)


def _partner(model: RegionModel) -> list[int]:
    """Return for each region that of the other side: palsy has pairs, a unit is on both sides."""
    num = len(model.order)
    return _pairs(num) if model.task == "palsy" else list(range(num))


def tie(tensor: Tensor | None, image: Involution) -> None:
    """Average a tensor with its image."""
    if tensor is not None:
        tensor.copy_((tensor + image(tensor)) / 2)


def _pairs(size: int) -> list[int]:
    """Exchange neighbours: 1 0 3 2 ..."""
    return [number ^ 1 for number in range(size)]


def _norm(norm: nn.Module, image: Involution) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    tie(norm.weight, image)
    tie(norm.bias, image)


def _plain_convolutions(model: nn.Module) -> None:
    for module in model.modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or module.groups > 2:
            continue
        if module.stride == (2, 2):
            # On an even side the taps are left of, on, and right of the first of two pixels:
            # only the last two have a mirror image.
            module.weight[..., 0] = 0
            tie(module.weight[..., 1:], lambda w: w.flip(-1))
        else:
            tie(module.weight, lambda w: w.flip(-1))


def _branches(partner: Sequence[int]) -> Involution:
    """Exchange branches; their kernels, where they have some, are mirrored."""

    def image(tensor: Tensor) -> Tensor:
        by_branch = tensor.unflatten(0, (len(partner), -1))[list(partner)].flatten(0, 1)
        return by_branch.flip(-1) if tensor.ndim == 4 else by_branch

    return image


def _local_region(layer: LocalRegionConv, **_: Any) -> None:
    grid = layer.grid

    def image(tensor: Tensor) -> Tensor:
        cells = tensor.unflatten(0, (grid, grid, -1)).flip(1).flatten(0, 2)
        return cells.flip(-1) if tensor.ndim == 4 else cells

    tie(layer.conv.weight, image)
    tie(layer.conv.bias, image)
    _norm(layer.norm, image)


def _flat_features(weight: Tensor, *, dim: int, others: Involution) -> None:
    """Tie a weight whose axis `dim` holds flattened (C, 5, 5) features."""
    tie(
        weight,
        lambda w: others(w.unflatten(dim, (-1, 5, 5)).flip(dim + 2).flatten(dim, dim + 2)),
    )


def _hidden(layer: nn.Module) -> None:
    """Let the units of a hidden layer over 5 x 5 maps go in pairs."""
    assert isinstance(layer, nn.Linear)
    pairs = _pairs(layer.out_features)
    _flat_features(layer.weight, dim=1, others=lambda w: w[pairs])
    tie(layer.bias, lambda b: b[pairs])


def _signed(order: Sequence[int], signs: Tensor) -> Involution:
    """Exchange rows and change signs."""
    return lambda t: t[list(order)] * (signs if t.ndim == 1 else signs[:, None])


def _alignment(net: AlignmentNet, **_: Any) -> None:
    _hidden(net.hidden)
    rows = [2 * point + axis for point in MIRROR for axis in (0, 1)]
    signs = torch.tensor([-1.0, 1.0] * len(MIRROR))
    image, pairs = _signed(rows, signs), _pairs(net.points.in_features)
    tie(net.points.weight, lambda w: image(w)[:, pairs])
    middle = torch.tensor([MIDDLE, 0.0] * len(MIRROR))
    tie(net.points.bias, lambda b: middle + image(b - middle))


def _adaptive(net: AdaptiveRegions, *, model: RegionModel, partner: Sequence[int]) -> None:
    stacked = [tuple(pair) == STACKED_CENTRES for pair in model.centres.index.tolist()]
    single = model.centres.index[:, 0] == model.centres.index[:, 1]
    across = single | torch.tensor(stacked)
    signs = torch.stack([1.0 - 2.0 * across, torch.ones(len(partner))], 1).flatten()
    rows = [2 * region + axis for region in partner for axis in (0, 1)]
    for layers, order, sign in (
        (net.offset, rows, signs),
        (net.scale, partner, torch.ones(len(partner))),
    ):
        _hidden(layers[0])
        last, image = layers[2], _signed(order, sign)
        pairs = _pairs(last.in_features)  # pyright: ignore
        tie(last.weight, lambda w, image=image, pairs=pairs: image(w)[:, pairs])  # pyright: ignore
        tie(last.bias, image)  # pyright: ignore


def _per_region(
    layer: GlobalFusion | RegionGraph,
    *,
    partner: Sequence[int],
    **_: Any,
) -> None:
    for name, tensor in layer.named_parameters():
        if len(tensor) != len(partner):
            continue  # the whole face's fusions
        square = name == "adjacency"
        tie(tensor, lambda t, square=square: t[partner][:, partner] if square else t[partner])


def _channel_attention(level: GlobalLevel, **_: Any) -> None:
    if level.kind != "channel":
        return  # pixels have no order
    attention = level.attention
    side = round(attention.merge.out_features**0.5)

    def mirrored(tensor: Tensor) -> Tensor:
        return tensor.unflatten(-1, (side, side)).flip(-1).flatten(-2)

    for layer in (attention.queries, attention.keys, attention.values):
        tie(layer.weight, mirrored)
    tie(attention.merge.weight, lambda w: mirrored(w.T).T)
    tie(attention.merge.bias, mirrored)


def _integrated(head: IntegratedHead, *, partner: Sequence[int], **_: Any) -> None:
    assert isinstance(head.hidden, nn.Linear)
    pairs = _pairs(head.outputs.in_features)
    if isinstance(head.activation, nn.Identity):
        _hidden(head.hidden)
    else:  # pooled features of each region, then those of the whole face
        parts = [*partner, len(partner)]
        tie(
            head.hidden.weight,
            lambda w: w[pairs].unflatten(1, (len(parts), -1))[:, parts].flatten(1),
        )
        tie(head.hidden.bias, lambda b: b[pairs])
    tie(head.outputs.weight, lambda w: w[:, pairs])


def _palsy_heads(heads: PalsyHeads, *, partner: Sequence[int], **_: Any) -> None:
    num_regions = len(partner)
    for name, order in (("side", SIDES), ("regions", partner)):
        if name in heads.parts:
            head = heads.parts[name]
            tie(
                head.weight,  # pyright: ignore
                lambda w, order=order: w.unflatten(1, (num_regions, -1))[list(order)][
                    :, list(partner)
                ].flatten(1),
            )
            tie(head.bias, lambda b, order=order: b[list(order)])  # pyright: ignore


def _extractor(layer: ConvNorm, *, partner: Sequence[int], **_: Any) -> None:
    of = partner if layer.num_branches == len(partner) else [0] * layer.num_branches
    tie(layer.conv.weight, _branches(of))
    tie(layer.conv.bias, _branches(of))
    _norm(layer.norm, _branches(of))


def _refinement(
    net: AttentionRefinement,
    *,
    partner: Sequence[int],
    **_: Any,
) -> None:
    tie(net.last.weight, _branches(partner))
    tie(net.last.bias, _branches(partner))


def _local_heads(heads: LocalHeads, *, partner: Sequence[int], **_: Any) -> None:
    hidden = heads.hidden
    assert isinstance(hidden, BranchLinear)
    _flat_features(hidden.weight, dim=1, others=lambda w: w[partner])
    for tensor in (hidden.bias, heads.states.weight, heads.states.bias):
        tie(tensor, lambda t: t[partner])


_TIED: tuple[tuple[type[nn.Module], Callable[..., None]], ...] = (
    (LocalRegionConv, _local_region),
    (ConvNorm, _extractor),
    (AttentionRefinement, _refinement),
    (AlignmentNet, _alignment),
    (AdaptiveRegions, _adaptive),
    (GlobalFusion, _per_region),
    (RegionGraph, _per_region),
    (GlobalLevel, _channel_attention),
    (LocalHeads, _local_heads),
    (IntegratedHead, _integrated),
    (PalsyHeads, _palsy_heads),
)


@pytest.fixture
def symmetric_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a column is left over, pool from both ends and take the mean."""
    pool = functional.max_pool2d

    def from_both_ends(x: Tensor, size: int, *others: object, **settings: object) -> Tensor:
        pooled = pool(x, size, *others, **settings)
        if x.shape[-1] % 2 == 0 or others or settings:
            return pooled
        return (pooled + pool(x.flip(-1), size).flip(-1)) / 2

    monkeypatch.setattr(functional, "max_pool2d", from_both_ends)


def _centre_pixels(model: RegionModel, *, map_size: int) -> None:
    """Draw maps as if a pixel's coordinate were its middle, so that they mirror to themselves."""
    shift = torch.tensor([(FRAME_SIZE / map_size - 1) / 2, 0.0])
    model.centres.register_forward_hook(lambda _module, _given, centres: centres - shift)


def _region_model(name: str, face: Tensor, **options: object) -> RegionModel:
    torch.manual_seed(0)
    model = build_model(name, width=0.0625, **options)
    assert isinstance(model, RegionModel)
    _centre_pixels(model, map_size=52 if name == "jaanet" else 44)
    model.use_statistics(TrainingStatistics(mean_shape=face[0]))
    disturb(model)
    return model


def _answers(model: RegionModel) -> tuple[Prediction, Prediction]:
    """Return what is said of three frames and of their mirror images."""
    # Blurred, so that frames differ where a network averages.
    frames = functional.interpolate(torch.rand(3, 3, 9, 9) * 2 - 1, (176, 176), mode="bilinear")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        # Running statistics of these frames both ways are mirror images of each other.
        model.train()(torch.cat([frames, frames.flip(-1)]))
        model.eval()
        return model(frames), model(frames.flip(-1))


def _agree(straight: Prediction, mirrored: Prediction) -> None:
    assert straight.probabilities.std(dim=0).max() > 1e-3  # the frames are told apart
    torch.testing.assert_close(mirrored.probabilities, straight.probabilities, atol=1e-5, rtol=0)
    if straight.landmarks is not None:
        assert mirrored.landmarks is not None
        assert straight.landmarks.std(dim=0).max() > 0.1
        torch.testing.assert_close(
            mirrored.landmarks, mirror_points(straight.landmarks), atol=1e-3, rtol=0
        )


def _differ(straight: Prediction, mirrored: Prediction) -> None:
    assert (mirrored.probabilities - straight.probabilities).abs().max() > 1e-3


@pytest.mark.parametrize("name", REGION_NETWORKS)
@pytest.mark.usefixtures("symmetric_pooling")
def test_units_stay_and_landmarks_and_maps_are_mirrored(name: str, face: Tensor) -> None:
    units = (*BESIDE_THE_MIDDLE, 24) if name == "algrnet" else BESIDE_THE_MIDDLE
    model = _region_model(name, face, task="au", units=units)
    _differ(*_answers(model))
    symmetrise(model)
    straight, mirrored = _answers(model)
    _agree(straight, mirrored)
    assert straight.maps is not None
    assert mirrored.maps is not None
    torch.testing.assert_close(mirrored.maps, straight.maps.flip(-1), atol=1e-4, rtol=0)
    assert (straight.maps - straight.maps.flip(-1)).abs().max() > 1e-3


# Regions of one side are read after each other, left first: no weights make that symmetric.
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("algrnet", {"skip_bilstm": "none"}),
        ("algrnet", {"skip_bilstm": "none", "palsy_head": "each"}),
        ("lgrnet", {"skip_bilstm": "none"}),
        ("jaanet", {}),
        ("mgrrnet", {"graph_init": "adjacency"}),
    ],
)
@pytest.mark.usefixtures("symmetric_pooling")
def test_the_grade_stays_and_sides_and_regions_are_exchanged(
    name: str, options: dict, face: Tensor
) -> None:
    model = _region_model(name, face, task="palsy", **HEADS, **options)
    _differ(*_answers(model))
    symmetrise(model)
    straight, mirrored = _answers(model)
    _agree(straight, mirrored)
    _sides_are_exchanged(straight, mirrored)
    assert straight.maps is not None
    assert mirrored.maps is not None
    partner = [number ^ 1 for number in range(12)]
    torch.testing.assert_close(mirrored.maps, straight.maps[:, partner].flip(-1), atol=1e-4, rtol=0)


def _sides_are_exchanged(straight: Prediction, mirrored: Prediction) -> None:
    assert straight.side is not None
    assert mirrored.side is not None
    assert straight.regions is not None
    assert mirrored.regions is not None
    partner = [number ^ 1 for number in range(12)]
    torch.testing.assert_close(mirrored.side, straight.side[:, SIDES], atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored.regions, straight.regions[:, partner], atol=1e-5, rtol=0)
