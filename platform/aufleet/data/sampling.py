"""Which frames stand in which batch, and how each is cropped: pure functions of seeds and numbers.

Nothing here depends on the number of ranks, on what was asked before or on the machine. So a run
that resumes at any step, on any number of ranks, sees exactly the frames of an uninterrupted one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def epoch_order(num_frames: int, *, seed: int, epoch: int) -> Indices:
    """Return the frames 0 to N-1 shuffled for one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(num_frames).astype(np.int64)


def batch_bounds(num_frames: int, *, batch: int, merge_single: bool) -> list[tuple[int, int]]:
    """Return where each global batch of an epoch begins and ends; every frame stands in one.

    Args:
        num_frames: Frames of the epoch.
        batch: Frames in a global batch; the last may hold fewer.
        merge_single: Put a last frame that would stand alone into the batch before it: batch
            normalisation cannot train on one sample.
    """
    starts = list(range(0, num_frames, batch))
    if merge_single and len(starts) > 1 and num_frames - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], num_frames], strict=True)) if starts else []


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """How each of b frames is cut.

    Attributes:
        left: (b,) int64 offset.
        top: (b,) int64 offset.
        flip: (b,) bool, mirrored or not, after all else.
        degrees: (b,) float64, turned clockwise about the frame's middle before all else; None
            where no frame is.
    """

    left: Indices
    top: Indices
    flip: NDArray[np.bool_]
    degrees: NDArray[np.float64] | None = None


def random_crops(
    indices: Indices, *, seed: int, epoch: int, max_offset: int, max_degrees: float = 0
) -> Crops:
    """Return how frames are cut at random.

    Offsets are uniform in 0 to `max_offset`, inclusive, flips have probability 0.5, and turns are
    uniform between `max_degrees` and its negative.
    """
    key = _mix(np.uint64(seed % 2**64) ^ _mix(np.array([epoch], dtype=np.uint64)))
    drawn = _mix(indices.astype(np.uint64) ^ key)
    # Three fields of 21 bits of one number; the remainder's bias is below 25 / 2**21.
    left, top, coin = ((drawn >> np.uint64(shift)) & np.uint64(0x1FFFFF) for shift in (0, 21, 42))
    sides = np.uint64(max_offset + 1)
    return Crops(
        left=(left % sides).astype(np.int64),
        top=(top % sides).astype(np.int64),
        flip=(coin & np.uint64(1)).astype(np.bool_),
        degrees=max_degrees * _symmetric(_mix(drawn)) if max_degrees else None,
    )


def _symmetric(drawn: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers in [-1, 1) from 53 bits of each."""
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def centre_crops(num_frames: int, *, max_offset: int) -> Crops:
    """Return the middle crop for each frame, never mirrored."""
    middle = np.full(num_frames, max_offset // 2, dtype=np.int64)
    return Crops(left=middle, top=middle, flip=np.zeros(num_frames, dtype=np.bool_))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64 of each number: neighbouring numbers give unrelated ones (Steele, 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
