"""The residual trunk of ResNet-18, -34 and -50 (He et al. 2016), without pooling and classifier.

Submodules carry the usual public names (`conv1`, `layer1.0.bn2`, `layer2.0.downsample.0`), so that
a pre-trained state dictionary loads as it is. In a bottleneck the 3x3 convolution has the stride.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from aufleet_models.layers.folding import fold_conv_norm
from aufleet_models.layers.scaling import scaled

Depth = Literal[18, 34, 50]

BLOCKS_PER_STAGE: dict[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
}
BOTTLENECK_EXPANSION = 4


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, channels, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        return self.relu(residual + self.downsample(features))

    def fold(self) -> None:
        """Multiply the batch norms into the convolutions; evaluation mode only."""
        fold_conv_norm(self, "conv1", "bn1")
        fold_conv_norm(self, "conv2", "bn2")


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside an identity, four times as many channels out."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        out_channels = channels * BOTTLENECK_EXPANSION
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, out_channels, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        residual = self.relu(self.bn1(self.conv1(features)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.relu(residual + self.downsample(features))

    def fold(self) -> None:
        """Multiply the batch norms into the convolutions; evaluation mode only."""
        fold_conv_norm(self, "conv1", "bn1")
        fold_conv_norm(self, "conv2", "bn2")
        fold_conv_norm(self, "conv3", "bn3")


class ResidualTrunk(nn.Module):
    """The convolutional part of a ResNet.

    Attributes:
        out_channels: Channels of the result: 512 (ResNet-18, -34) or 2048 (-50) at width 1.
    """

    def __init__(self, depth: Depth, *, width: float = 1.0) -> None:
        super().__init__()
        if depth not in BLOCKS_PER_STAGE:
            raise ValueError(f"ResNet depth {depth} does not exist: use 18, 34 or 50")
        first = scaled(64, width)
        self.conv1 = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        block = Bottleneck if depth == 50 else ResidualBlock
        expansion = BOTTLENECK_EXPANSION if depth == 50 else 1
        in_channels = first
        for stage, num_blocks in enumerate(BLOCKS_PER_STAGE[depth]):
            channels = first << stage
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(in_channels, channels, stride=stride))
                in_channels = channels * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.out_channels = in_channels
        self.apply(_initialise)

    def forward(self, frames: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, out_channels, S / 32, S / 32), rounded up."""
        # 10 to 25 % faster than the default layout on a CPU.
        frames = frames.contiguous(memory_format=torch.channels_last)
        features = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        for stage in range(1, 5):
            features = self.get_submodule(f"layer{stage}")(features)
        return features

    def fold(self) -> None:
        """Multiply every batch norm into its convolution; evaluation mode only."""
        fold_conv_norm(self, "conv1", "bn1")
        for module in list(self.modules()):
            if isinstance(module, ResidualBlock | Bottleneck):
                module.fold()
                if isinstance(module.downsample, nn.Sequential):
                    fold_conv_norm(module.downsample, "0", "1")


def projection(in_channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Return the shortcut: the identity where shapes agree, else a strided 1x1 convolution."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        SubsampledConv(in_channels, out_channels, step=stride), nn.BatchNorm2d(out_channels)
    )


class SubsampledConv(nn.Conv2d):
    """A 1x1 convolution without bias of every `step`-th row and column.

    That is a 1x1 convolution with that stride, which oneDNN 3.x must not be given: with fewer than
    8 (AVX-512: 16) channels in the channels-last layout the gradient of its weights is written past
    the end of a buffer (uxlfoundation/oneDNN issue 6035; ResNets of width 0.0625 crashed).
    """

    def __init__(self, in_channels: int, out_channels: int, *, step: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.step = step

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H / step, W / step), rounded up."""
        return super().forward(input[:, :, :: self.step, :: self.step])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
