"""What the machine can do, and what a program takes of it."""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from aufleet_models.layers.folded.packed import PackedConv

PEAK_SHAPES = ((96, 96, 44), (128, 128, 22), (64, 256, 44))
"""Channels in and out, and side of the map, of the convolutions that take most of the time."""
PEAK_BATCHES = (1, 8)
NUM_REPEATS = 8


def convolution_peak(dtype: torch.dtype) -> float:
    """Return the GFLOP/s of the fastest 3x3 convolution, whatever the layout."""
    peak = 0.0
    with torch.inference_mode():
        for channels, outputs, size in PEAK_SHAPES:
            conv = nn.Conv2d(channels, outputs, 3, padding=1, dtype=dtype)
            packed = PackedConv(conv, relu=False, dtype=dtype)
            for batch in PEAK_BATCHES:
                x = torch.randn(batch, channels, size, size, dtype=dtype)
                gflop = 18e-9 * channels * outputs * size**2 * batch
                rows = x.contiguous(memory_format=torch.channels_last)
                for run in (
                    lambda x=x, conv=conv: functional.conv2d(x, conv.weight, conv.bias, padding=1),
                    lambda x=rows, packed=packed: packed(x),
                ):
                    peak = max(peak, gflop / fastest(run))
    return peak


def fastest(run: Callable[[], object]) -> float:
    """Return the least seconds of a few calls."""
    run()
    return min(timed(run) for _ in range(NUM_REPEATS))


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


@torch.inference_mode()
def gflop(run: Callable[[], object]) -> float:
    """Return the arithmetic of one call: two operations per multiplication."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def peak_memory(run: Callable[[], object]) -> float:
    """Return how many MiB more than before are in use while `run` is under way."""
    # What was freed before would be taken again without being counted.
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run()
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
