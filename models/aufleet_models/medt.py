"""The gated axial Transformer: the encoder of Medical Transformer (Valanarasu et al. 2021).

The palsy paper names "Transformer" and no more; encoder, pooling and one linear layer are our
reading of it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from aufleet_models.contract import Prediction, Task
from aufleet_models.layers.axial import CHANNEL_STEP, AxialAttention, AxialBlock
from aufleet_models.layers.folding import fold_conv_norm
from aufleet_models.layers.palsy_heads import PalsyHeads
from aufleet_models.layers.pooled import PooledModel
from aufleet_models.layers.scaling import scaled

STAGES = ((16, 1, 1), (32, 2, 2), (64, 4, 2), (128, 1, 2))
"""Planes, blocks and stride of each stage."""
SIZE_STEP = 16
"""The encoder halves its input four times."""


@dataclass(frozen=True, kw_only=True)
class MedTOptions:
    """What the gated axial Transformer can be told."""

    gate_epochs: int = 10
    """The gates of the attention stay at their first values for so many epochs, as published."""
    attention_slope: float = 0.1
    """First slope of the norms of the attention's logits. With the published 1 the first attentions
    are so sharp that gradients grow 2.7-fold from block to block and little is learnt."""
    zero_start: bool = True
    """Let each block begin as its shortcut: the norm in front of the sum starts at 0. As published
    it starts at 1, and few epochs on few faces teach nothing."""
    input_size: int = 176
    """Side at which the encoder works, a multiple of 16: frames are resized to it. The cost grows
    with its third power."""
    side_head: bool = False
    """Palsy: also answer which side is affected."""
    region_head: bool = False
    """Palsy: also answer how impaired each of the 12 regions is."""


class MedT(PooledModel):
    """Three convolutions, eight axial blocks, average over the map, one linear layer.

    The encoder has 349,104 parameters at 176 px; with four grades 350,132 in all.
    """

    # Its attention sums three normalised terms: bf16 moved a probability by 0.18.
    bears_bf16 = False

    def __init__(
        self,
        options: MedTOptions,
        *,
        task: Task,
        units: Sequence[int] | None = None,
        width: float = 1.0,
    ) -> None:
        super().__init__(task=task, units=units)
        if options.input_size < SIZE_STEP or options.input_size % SIZE_STEP:
            raise ValueError(f"input_size is {options.input_size}: a multiple of {SIZE_STEP}")
        self.options = options
        narrow, wide = scaled(8, width), scaled(128, width)
        self.stem = nn.Sequential(
            *_convolution(3, narrow, kernel=7, stride=2),
            *_convolution(narrow, wide, kernel=3),
            *_convolution(wide, narrow, kernel=3),
        )
        blocks = []
        channels, size = narrow, options.input_size // 2
        for planes, num_blocks, first_stride in STAGES:
            planes = _attention_planes(planes, width)
            for index in range(num_blocks):
                stride = first_stride if index == 0 else 1
                blocks.append(
                    AxialBlock(
                        channels, planes, size=size, stride=stride, slope=options.attention_slope
                    )
                )
                channels, size = 2 * planes, size // stride
        if options.zero_start:
            for block in blocks:
                nn.init.zeros_(block.up_norm.weight)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, self.num_outputs)
        self.palsy_heads = PalsyHeads(
            channels, task=task, side=options.side_head, regions=options.region_head
        )

    def forward(self, frames: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Return the prediction; landmarks are not used.

        Args:
            frames: (B, 3, S, S) in [-1, 1].
            landmarks: Ignored.
        """
        size = self.options.input_size
        if frames.shape[-1] != size:
            frames = functional.interpolate(frames, (size, size), mode="bilinear", antialias=True)
        features = self.blocks(self.stem(frames)).mean(dim=(2, 3))
        return self.predict(self.classifier(features), self.palsy_heads(features))

    def start_epoch(self, epoch: int) -> None:
        """Keep the gates fixed in the first epochs.

        Args:
            epoch: Counted from 1.
        """
        self.freeze_gates(frozen=epoch <= self.options.gate_epochs)

    def freeze_gates(self, *, frozen: bool) -> None:
        """Let the gates pass no gradient, or let them learn again."""
        for module in self.modules():
            if isinstance(module, AxialAttention):
                module.gates_frozen = frozen

    @torch.no_grad()
    def fold_for_inference(self) -> "MedT":
        """Return an equal network whose batch norms are part of the convolutions."""
        folded = copy.deepcopy(self).eval()
        for first in range(0, len(folded.stem), 3):
            fold_conv_norm(folded.stem, str(first), str(first + 1))
        for module in list(folded.modules()):
            if isinstance(module, AxialBlock | AxialAttention):
                module.fold()
        return folded


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _attention_planes(planes: int, width: float) -> int:
    return max(CHANNEL_STEP, CHANNEL_STEP * round(planes * width / CHANNEL_STEP))
