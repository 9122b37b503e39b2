import pytest
import torch

from aufleet_models import build_model
from aufleet_models.layers.residual import Depth, ResidualTrunk, SubsampledConv


@pytest.mark.parametrize(
    ("name", "depth", "count"),
    [("resnet18", 18, 11_178_564), ("resnet18", 34, 21_286_724), ("resnet50", 50, 23_516_228)],
)
def test_parameter_counts_with_four_grades(name: str, depth: int, count: int) -> None:
    with torch.device("meta"):
        model = build_model(name, task="palsy", depth=depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("size", [176, 224])
def test_the_crop_is_an_option(size: int) -> None:
    model = build_model("resnet18", task="au", units=[1, 2], width=0.1, frame_size=size).eval()
    assert model.frame_size == size
    assert model(torch.zeros(1, 3, size, size)).logits.shape == (1, 2)


def test_submodules_carry_the_public_names() -> None:
    names = ResidualTrunk(50, width=0.1).state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer3.5.conv3.weight",
        "layer4.2.bn3.bias",
    } <= set(names)


@pytest.mark.parametrize("size", [8, 7])
def test_a_subsampled_convolution_is_one_with_a_stride(size: int) -> None:
    conv = SubsampledConv(3, 5, step=2).double()
    frames = torch.rand(2, 3, size, size, dtype=torch.float64)
    strided = torch.nn.functional.conv2d(frames, conv.weight, stride=2)
    torch.testing.assert_close(conv(frames), strided)


@pytest.mark.parametrize("depth", [18, 50])
def test_no_strided_1x1_convolution_is_left_whose_gradient_would_corrupt_memory(
    depth: Depth,
) -> None:
    trunk = ResidualTrunk(depth, width=0.0625)
    convolutions = [one for one in trunk.modules() if isinstance(one, torch.nn.Conv2d)]
    assert {one.stride for one in convolutions if one.kernel_size == (1, 1)} == {(1, 1)}
    trunk(torch.rand(4, 3, 64, 64)).sum().backward()


def test_a_depth_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of 18, 34, 50"):
        build_model("resnet18", task="palsy", depth=20)


def test_units_that_have_no_region_are_refused() -> None:
    with pytest.raises(ValueError, match="units"):
        build_model("resnet18", task="au", units=[1, 99])
