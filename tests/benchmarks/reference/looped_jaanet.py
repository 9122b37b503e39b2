"""JAA-Net as its paper's reader would first write it: the yardstick of the forward benchmark.

Maps are drawn sample by sample, cells of the stem and branches of the units are layers of their
own that run one after the other; nothing is folded, everything is fp32 in the default layout. The
weights are taken from the catalog's network, so that both must give the same probabilities.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.jaanet import JAANet
from aufleet_models.layers.centres import UNIT_REGIONS
from aufleet_models.layers.heads import IntegratedHead
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.local_region import HierarchicalRegion, LocalRegionConv
from aufleet_models.layers.refinement import AttentionRefinement

LARGE_MAP, MAP, FRAME = 52, 44, 176
RATIO, SLOPE = 0.14, 0.56


class LoopedJaanet:
    """The looped forward with the weights of a network of the catalog.

    Args:
        network: In evaluation mode, not folded.
        units: Its action units.
    """

    def __init__(self, network: JAANet, units: list[int]) -> None:
        assert network.refinement is not None
        assert isinstance(network.readout.integrated, IntegratedHead)
        self.rules = [UNIT_REGIONS[unit] for unit in units]
        self.stem = [_Hierarchy(network.stem.first), _Hierarchy(network.stem.second)]
        (self.align,) = _extractors(network.alignment.extractor)
        self.points = nn.Sequential(network.alignment.hidden, network.alignment.points)
        self.refine = _refinements(network.refinement)
        self.local = _extractors(network.local)
        (self.overview,) = _extractors(network.overview)
        head = network.readout.integrated
        self.head = nn.Sequential(head.hidden, head.outputs)

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        """Return the probabilities (B, U) of frames (B, 3, 176, 176)."""
        feature = frames
        for layer in self.stem:
            feature = functional.max_pool2d(layer(feature), 2)
        aligned = self.align(feature)
        landmarks = self.points(aligned.flatten(1)).unflatten(1, (-1, 2))
        maps = self.draw(landmarks)
        refined = []
        for unit, (refine, extract) in enumerate(zip(self.refine, self.local, strict=True)):
            attention = refine(maps[:, unit : unit + 1])
            refined.append(extract(feature * attention))
        mean = torch.stack(refined).mean(0)
        seen = torch.cat([aligned, self.overview(feature), mean], 1)
        states = self.head(seen.flatten(1)).unflatten(1, (2, -1))
        return states.softmax(1)[:, 1]

    def draw(self, landmarks: Tensor) -> Tensor:
        """Return the initial maps (B, U, 52, 52), one sample, unit and centre after the other."""
        maps = torch.zeros(len(landmarks), len(self.rules), LARGE_MAP, LARGE_MAP)
        half = round((LARGE_MAP - 1) / 2 * RATIO)
        for sample, points in enumerate(landmarks):
            scale = abs(float(points[22, 0] - points[25, 0]))
            for unit, rule in enumerate(self.rules):
                for index, dx, dy in rule:
                    x = round((float(points[index, 0]) + scale * dx) * LARGE_MAP / FRAME)
                    y = round((float(points[index, 1]) + scale * dy) * LARGE_MAP / FRAME)
                    _paint(maps[sample, unit], x, y, half)
        return maps


def _paint(target: Tensor, x: int, y: int, half: int) -> None:
    first_x, last_x, first_y, last_y = (
        min(max(end, 0), LARGE_MAP - 1) for end in (x - half, x + half, y - half, y + half)
    )
    columns = torch.arange(first_x, last_x + 1)
    rows = torch.arange(first_y, last_y + 1)
    distance = (rows - y).abs()[:, None] + (columns - x).abs()
    box = target[first_y : last_y + 1, first_x : last_x + 1]
    torch.maximum(box, (1 - distance * SLOPE / (LARGE_MAP * RATIO)).clamp_min(0), out=box)


class _Hierarchy:
    def __init__(self, layer: HierarchicalRegion) -> None:
        self.conv, self.norm = _plain(layer.conv), layer.norm
        self.fine, self.middle, self.coarse = map(_Cells, (layer.fine, layer.middle, layer.coarse))

    def __call__(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        fine = self.fine(x)
        middle = self.middle(fine)
        regions = torch.cat([fine, middle, self.coarse(middle)], 1)
        return functional.relu(self.norm(x + regions))


class _Cells:
    """One batch norm, ReLU and convolution for each cell."""

    def __init__(self, layer: LocalRegionConv) -> None:
        self.grid = layer.grid
        cells = layer.grid**2
        norms = _norms(layer.norm, cells)
        self.layers = [
            nn.Sequential(norm, nn.ReLU(), conv)
            for norm, conv in zip(norms, _convs(layer.conv, cells), strict=True)
        ]

    def __call__(self, x: Tensor) -> Tensor:
        rows = []
        for row, strip in enumerate(x.chunk(self.grid, 2)):
            cells = strip.chunk(self.grid, 3)
            layers = self.layers[row * self.grid : (row + 1) * self.grid]
            rows.append(torch.cat([f(cell) for f, cell in zip(layers, cells, strict=True)], 3))
        return torch.cat(rows, 2)


def _extractors(extractor: HighLevelExtractor) -> list[nn.Sequential]:
    parts: list[list[nn.Module]] = [[] for _ in range(extractor.num_branches)]
    for number, layer in enumerate(extractor.layers):
        convs, norms = _branches(layer)
        for part, conv, norm in zip(parts, convs, norms, strict=True):
            part += [conv, norm, nn.ReLU()]
            if number % 2:
                part.append(nn.MaxPool2d(2))
    return [nn.Sequential(*part).eval() for part in parts]


def _refinements(refinement: AttentionRefinement) -> list[nn.Sequential]:
    last = _convs(refinement.last, refinement.last.groups)
    parts: list[list[nn.Module]] = [[] for _ in last]
    for layer in refinement.layers:
        convs, norms = _branches(layer)
        for part, conv, norm in zip(parts, convs, norms, strict=True):
            part += [conv, norm, nn.ReLU()]
    return [
        nn.Sequential(*part, conv, nn.Sigmoid()).eval()
        for part, conv in zip(parts, last, strict=True)
    ]


def _branches(layer: nn.Module) -> tuple[list[nn.Conv2d], list[nn.BatchNorm2d]]:
    conv, norm = layer.conv, layer.norm
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return _convs(conv, conv.groups), _norms(norm, conv.groups)


def _convs(conv: nn.Conv2d, num: int) -> list[nn.Conv2d]:
    """Return the groups of a convolution as convolutions of their own."""
    parts = []
    for number in range(num):
        part = nn.Conv2d(
            conv.in_channels // num,
            conv.out_channels // num,
            3,
            padding=conv.padding,  # pyright: ignore[reportArgumentType]
        )
        _copy(part, conv, ("weight", "bias"), number, num)
        parts.append(part)
    return parts


def _norms(norm: nn.BatchNorm2d, num: int) -> list[nn.BatchNorm2d]:
    parts = []
    for number in range(num):
        part = nn.BatchNorm2d(norm.num_features // num).eval()
        _copy(part, norm, ("weight", "bias", "running_mean", "running_var"), number, num)
        parts.append(part)
    return parts


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    return _convs(conv, 1)[0]


@torch.no_grad()
def _copy(part: nn.Module, whole: nn.Module, names: tuple[str, ...], number: int, num: int) -> None:
    for name in names:
        getattr(part, name).copy_(getattr(whole, name).chunk(num)[number])
