"""What becomes of layers for inference gives the numbers of the layers that train."""

import pytest
import torch
from torch import Tensor, nn

from aufleet_models import FaceModel, build_model
from aufleet_models.layers.folded import branch_chain
from aufleet_models.layers.folded.attention import FoldedPixelAttention, fold_attention
from aufleet_models.layers.folded.branch_chain import FoldedExtractor
from aufleet_models.layers.folded.column_pairs import (
    ColumnPairs,
    column_pair_index,
    columns_apart,
    columns_together,
)
from aufleet_models.layers.folded.fusion import FoldedFusion
from aufleet_models.layers.folded.packed import PackedConv, pack
from aufleet_models.layers.folded.refinement import WindowedRefinement
from aufleet_models.layers.folded.skip_lstm import FoldedSkipBiLSTM
from aufleet_models.layers.folded.stem import FoldedStem
from aufleet_models.layers.folded.windows import first_cells, pixels, window_side
from aufleet_models.layers.fusion import GlobalFusion
from aufleet_models.layers.graph import TokenAttention
from aufleet_models.layers.high_level import HighLevelExtractor
from aufleet_models.layers.local_region import Stem
from aufleet_models.layers.maps import MAX_RATIO, hard_maps, soft_maps
from aufleet_models.layers.refinement import AttentionRefinement
from aufleet_models.layers.skip_lstm import SkipBiLSTM


def _settled(module: nn.Module) -> nn.Module:
    """Give batch norms statistics and scales that are not those of a fresh layer."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values, low in ((part.weight, 0.5), (part.running_var, 0.5), (part.bias, -0.3)):
                values.data.uniform_(low, low + 0.6)
            part.running_mean.uniform_(-0.3, 0.3)
    return module.eval()


def _centres(batch: int, regions: int) -> Tensor:
    """Centres inside the crop, at its border, and outside."""
    centres = torch.rand(batch, regions, 2, 2) * 176
    centres[0, 0] = torch.tensor([[-40.0, 20.0], [176.0, 300.0]])
    centres[0, 1, 1] = centres[0, 1, 0] + 6  # boxes that overlap
    return centres


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("threshold", [0, 1000], ids=["looped", "grouped"])
@torch.no_grad()
def test_an_extractor_as_a_chain(
    monkeypatch: pytest.MonkeyPatch, threshold: int, packed: bool
) -> None:
    monkeypatch.setattr(branch_chain, "MIN_LOOP_CHANNELS", threshold)
    torch.manual_seed(0)
    extractor = _settled(HighLevelExtractor(4, width=0.0625, num_branches=3))
    assert isinstance(extractor, HighLevelExtractor)
    folded = FoldedExtractor(extractor)
    if packed:
        folded.chain.pack(torch.float32)
    feature, maps = torch.randn(2, 4, 44, 44), torch.rand(3, 2, 44, 44)
    x = feature * maps.unsqueeze(2)
    expected = extractor.branches(x)
    torch.testing.assert_close(folded.branches(x), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(folded.regions(feature, maps), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(extractor.regions(feature, maps), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pooled", [True, False])
@torch.no_grad()
def test_an_extractor_of_the_whole_face(pooled: bool) -> None:
    torch.manual_seed(0)
    extractor = _settled(HighLevelExtractor(4, width=0.0625))
    x = torch.randn(2, 4, 44, 44)
    folded = FoldedExtractor(extractor)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(
        folded(x, pooled=pooled), extractor(x, pooled=pooled), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("threshold", [0, 1000], ids=["looped", "grouped"])
@torch.no_grad()
def test_maps_are_refined_only_in_windows_and_constant_elsewhere(
    monkeypatch: pytest.MonkeyPatch, threshold: int, packed: bool
) -> None:
    monkeypatch.setattr(branch_chain, "MIN_LOOP_CHANNELS", threshold)
    torch.manual_seed(0)
    refinement = _settled(AttentionRefinement(4, width=0.125))
    centres = _centres(3, 4)
    maps = hard_maps(centres, size=52)
    folded = WindowedRefinement(refinement)  # pyright: ignore[reportArgumentType]
    if packed:
        folded.chain.pack(torch.float32)
    torch.testing.assert_close(folded(maps, centres), refinement(maps), atol=1e-5, rtol=1e-4)


def _folded_lstm(lstm: SkipBiLSTM, *, packed: bool) -> nn.Module:
    folded = FoldedSkipBiLSTM(lstm)
    if packed:
        folded.pack(torch.float32)
    return folded


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("options", [{}, {"skip": False}, {"gate": "scalar"}, {"map_pad": 1}])
@torch.no_grad()
def test_the_skip_bilstm_with_hard_maps(options: dict, packed: bool) -> None:
    torch.manual_seed(0)
    lstm = SkipBiLSTM(4, 8, **options)
    centres, feature = _centres(2, 4), torch.randn(2, 8, 44, 44)
    maps = hard_maps(centres).transpose(0, 1)
    torch.testing.assert_close(
        _folded_lstm(lstm, packed=packed)(feature, maps, centres),
        lstm(feature, maps),
        atol=1e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("ratio", [(0.05,), (0.14,), (MAX_RATIO,), (0.04, 0.2, 0.28)], ids=str)
@torch.no_grad()
def test_the_skip_bilstm_with_soft_maps(ratio: tuple[float, ...], packed: bool) -> None:
    torch.manual_seed(0)
    lstm = SkipBiLSTM(3, 8)
    centres, feature = _centres(2, 3), torch.randn(2, 8, 44, 44)
    ratios = torch.tensor(ratio).expand(2, 3)
    maps = soft_maps(centres, ratios).transpose(0, 1)
    folded = _folded_lstm(lstm, packed=packed)(feature, maps, centres, ratios)
    torch.testing.assert_close(folded, lstm(feature, maps), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_skip_bilstm_asks_no_number_of_a_gpu() -> None:
    """A CUDA graph is captured without numbers, as tensors without storage are."""
    with torch.device("meta"):
        folded = FoldedSkipBiLSTM(SkipBiLSTM(3, 8))
        feature, maps = torch.empty(2, 8, 44, 44), torch.empty(3, 2, 44, 44)
        found = folded(feature, maps, torch.empty(2, 3, 2, 2), torch.empty(2, 3))
    assert found.shape == (3, 2, 8, 44, 44)


@pytest.mark.parametrize("width", [0.125, 0.5], ids=["cells in pairs of rows", "some of them"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@torch.no_grad()
def test_the_stem(width: float, packed: bool) -> None:
    torch.manual_seed(0)
    stem = _settled(Stem(width=width))
    folded = nn.Sequential(FoldedStem(stem))  # pyright: ignore[reportArgumentType]
    if packed:
        pack(folded, dtype=torch.float32)
    frames = torch.rand(2, 3, 176, 176) * 2 - 1
    found = folded(frames)
    torch.testing.assert_close(found, stem(frames), atol=1e-4, rtol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_regions", [1, 3])
@pytest.mark.parametrize("global_size", [5, 44], ids=["pooled", "whole"])
@pytest.mark.parametrize("map_pad", [0, 1])
@torch.no_grad()
def test_fusion(num_regions: int, global_size: int, map_pad: int) -> None:
    torch.manual_seed(0)
    fusion = GlobalFusion(
        num_regions, 8, global_channels=6, global_size=global_size, map_pad=map_pad
    )
    regions = torch.randn(num_regions, 2, 8, 44, 44)
    context = torch.randn(2, 6, global_size, global_size)
    torch.testing.assert_close(
        FoldedFusion(fusion)(regions, context), fusion(regions, context), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(("size", "head_size"), [(8, 16), (24, 16)], ids=["pixels", "channels"])
@torch.no_grad()
def test_attention(size: int, head_size: int, packed: bool) -> None:
    torch.manual_seed(0)
    attention = TokenAttention(size, head_size=head_size)
    folded = nn.Sequential(fold_attention(attention))
    if packed:
        pack(folded, dtype=torch.float32)
    tokens = torch.randn(2, 9, size)
    expected = attention(tokens)
    torch.testing.assert_close(folded(tokens), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(folded(tokens[:1]), expected[:1], atol=1e-5, rtol=1e-4)
    if isinstance(folded[0], FoldedPixelAttention):
        torch.testing.assert_close(folded[0].fused(tokens), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_a_convolution_of_column_pairs(relu: bool, batch: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, 3, padding=1, groups=2)
    x = torch.randn(batch, 8, 6, 10)
    even, odd = ColumnPairs(conv, relu=relu, dtype=torch.float32)(x[..., 0::2], x[..., 1::2])
    expected = conv(x).relu() if relu else conv(x)
    found = torch.stack([even, odd], dim=-1).flatten(3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_columns_apart_and_where_they_went() -> None:
    x = torch.arange(36).view(1, 6, 6, 1)
    apart = columns_apart(x, dim=1)
    assert apart[0, :, :, 0].tolist()[0] == [0, 2, 4]
    assert apart[0, :, :, 0].tolist()[6] == [1, 3, 5]
    assert torch.equal(apart.flatten()[column_pair_index(x.flatten(), size=6)], x.flatten())
    assert torch.equal(columns_together(x, dim=1).flatten(), apart.flatten())


@torch.no_grad()
def test_windows_hold_all_that_a_box_touches() -> None:
    half, margin, size = 2, 8, 20
    side = window_side(half, margin=margin)
    convolutions = nn.Sequential(*(nn.Conv2d(1, 1, 3, bias=False) for _ in range(margin // 2)))
    for convolution in convolutions:
        nn.init.ones_(convolution.weight)
    for x, y in ((-9, 4), (0, 0), (3, 27), (13, 14), (27, 27), (40, 2)):
        cell = torch.tensor([x, y])
        drawn = torch.zeros(size + margin, size + margin)
        low, high = ((cell + step).clamp(0, size + margin - 1) for step in (-half, half))
        drawn[low[1] : high[1] + 1, low[0] : high[0] + 1] = 1
        touched = convolutions(drawn[None, None])[0, 0].flatten() != 0
        first = first_cells(cell, half=half, margin=margin, size=size)
        inside = torch.zeros(size**2, dtype=torch.bool)
        inside[pixels(first, side=side, size=size)] = True
        assert not (touched & ~inside).any()


@torch.no_grad()
def test_a_packed_convolution_is_the_convolution_and_its_relu() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.ReLU()))
    layers.append(nn.Conv2d(8, 4, 3, stride=2, bias=False))
    x = torch.randn(2, 4, 9, 9)
    expected = layers(x)
    pack(layers, dtype=torch.float32)
    assert isinstance(layers[0][0], PackedConv)
    assert isinstance(layers[1], PackedConv)
    for frames in (x, x[:1]):  # packed for one size of batch, used for another
        torch.testing.assert_close(layers(frames), expected[: len(frames)], atol=1e-5, rtol=1e-4)


def _trained_like(name: str, **options: object) -> FaceModel:
    torch.manual_seed(0)
    model = build_model(name, task="au", units=[1, 4, 12, 25], width=0.125, **options)
    return _settled(model)  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("jaanet", {"refinement": False}),
        ("algrnet", {"map_edges": "straight_through"}),
        ("algrnet", {"skip_bilstm": "none"}),
        ("algrnet", {"fusion": False, "integrated_global": True}),
        ("algrnet", {"global_source": "unpooled"}),
        ("algrnet", {"global_source": "stem"}),
        ("lgrnet", {"map_pad": 1}),
        ("mgrrnet", {"global_levels": ()}),
        ("mgrrnet", {"layers": 0}),
    ],
)
@torch.no_grad()
def test_ablations_fold_too(name: str, options: dict) -> None:
    model = _trained_like(name, **options)
    frames = torch.rand(2, 3, 176, 176) * 2 - 1
    expected, folded = model(frames), model.fold_for_inference()(frames)
    torch.testing.assert_close(folded.logits, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(folded.maps, expected.maps, atol=1e-4, rtol=1e-4)
