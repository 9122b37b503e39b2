"""How intensities run over the frames of a sequence: on their own, or through an exercise.

What a face does of its own accord follows a Gaussian process per unit, the processes correlated as
the units go together; its height is read as an intensity so that each intensity has its published
share of the frames. An exercise rises from rest to an apex and falls back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.frequencies import Shares, togetherness
from aufleet.data.synthetic.units import MAX_INTENSITY, STRENGTH, UNITS

Levels = Mapping[int, NDArray[np.float64]]
"""Unit -> (N,) intensity at each frame, between 0 and 5."""

_SUBJECT_SHARE, _MOOD_SHARE = 0.06, 0.3
"""Of the variance: what a subject tends to, and what lasts for many seconds."""
_MOOD_S, _MOVEMENT_S = 2.5, 0.5
"""How long moods and single movements last."""
_TENDENCY = 7
"""Keeps the tendencies' generator apart from the subjects'."""
_ONSET_MARGIN = 0.6
"""So far below the threshold of a trace a unit starts to move."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """When the frames of a sequence are taken.

    Attributes:
        num_frames: How many there are.
        rate_hz: Ticks a second.
        stride: Ticks from one frame to the next.
    """

    num_frames: int
    rate_hz: float
    stride: int = 1

    @property
    def ticks(self) -> NDArray[np.int64]:
        """The (N,) tick of each frame, from 0."""
        return np.arange(self.num_frames) * self.stride


def smooth_noise(
    num_rows: int, clock: Clock, *, lasts_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (num_rows, N) normal noise of unit variance that changes within about `lasts_s`."""
    spread = max(lasts_s * clock.rate_hz, 0.3)
    reach = int(np.ceil(3 * spread))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    ticks = clock.ticks
    noise = rng.standard_normal((num_rows, ticks[-1] + len(kernel)))
    return np.stack([np.convolve(row, kernel, mode="valid")[ticks] for row in noise])


class SpontaneousFace:
    """What one subject's face does of its own accord, sequence after sequence."""

    def __init__(self, shares: Shares, *, seed: int, index: int) -> None:
        """Draw what the subject tends to.

        Args:
            shares: How often each unit acts, and how strongly.
            seed: Of the data set.
            index: Of the subject. Every second one tends to the opposite of the one before, so that
                few subjects already show units as often as they should.
        """
        rng = np.random.default_rng([seed, index // 2, _TENDENCY])
        self._shares = shares
        values, vectors = np.linalg.eigh(togetherness(tuple(shares)))
        self._mix = vectors * np.sqrt(np.maximum(values, 0.0))
        tendency = self._together(rng.standard_normal((len(shares), 1)))
        self._tendency = -tendency if index % 2 else tendency

    def act(self, clock: Clock, *, rng: np.random.Generator) -> dict[int, NDArray[np.float64]]:
        """Return the intensity of each unit over a sequence."""
        count = len(self._shares)
        mood = self._together(smooth_noise(count, clock, lasts_s=_MOOD_S, rng=rng))
        movement = self._together(smooth_noise(count, clock, lasts_s=_MOVEMENT_S, rng=rng))
        height = (
            np.sqrt(_SUBJECT_SHARE) * self._tendency
            + np.sqrt(_MOOD_SHARE) * mood
            + np.sqrt(1 - _SUBJECT_SHARE - _MOOD_SHARE) * movement
        )
        return {
            unit: _intensities(height[row], shares)
            for row, (unit, shares) in enumerate(self._shares.items())
        }

    def _together(self, independent: NDArray[np.float64]) -> NDArray[np.float64]:
        # Not a matrix product: the order of a linear algebra library's sums depends on its threads.
        return np.einsum("uv,vn->un", self._mix, independent)


def _intensities(height: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the intensities (N,) of normal variables (N,), each with its share."""
    # A share of 0 has no quantile; this one is never reached.
    thresholds = [-NormalDist().inv_cdf(max(share, 1e-12)) for share in shares]
    heights = [thresholds[0] - _ONSET_MARGIN, *thresholds, thresholds[-1] + _ONSET_MARGIN]
    levels = [0.0, *(level - 0.5 for level in range(1, MAX_INTENSITY + 1)), float(MAX_INTENSITY)]
    return np.interp(height, heights, levels)


def labels_of(levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the FACS intensities 0 to 5 that a coder writes down for momentary intensities."""
    return np.floor(levels + 0.5).astype(np.int64)


def exercise_course(
    efforts: Mapping[int, int], clock: Clock, *, rng: np.random.Generator
) -> dict[int, NDArray[np.float64]]:
    """Return the intensity of each unit while an exercise is done once: onset, apex, offset.

    Args:
        efforts: Unit -> intensity at the apex.
        clock: The sequence; however few its frames are, they are spread over the whole exercise.
        rng: Draws when the face moves and how fast.
    """
    # Middles of equal parts: a single frame shows the apex.
    at = (np.arange(clock.num_frames) + 0.5) / clock.num_frames
    begins, rises = rng.uniform(0.04, 0.12), rng.uniform(0.14, 0.24)
    falls_from, falls = rng.uniform(0.68, 0.78), rng.uniform(0.14, 0.2)
    course = {}
    for unit, effort in efforts.items():
        lag = rng.uniform(0.0, 0.04)
        onset = _smooth_step((at - begins - lag) / rises)
        offset = _smooth_step((at - falls_from - lag) / falls)
        # Nobody holds a face quite still.
        hold = 1 + 0.02 * smooth_noise(1, clock, lasts_s=0.3, rng=rng)[0]
        course[unit] = np.clip(effort * onset * (1 - offset) * hold, 0.0, MAX_INTENSITY)
    return course


def blinks(clock: Clock, *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how far the eyes are shut by blinking, (N,) in 0 to 1."""
    ticks, shut = clock.ticks, np.zeros(clock.num_frames)
    lasts = _BLINK_S * clock.rate_hz
    for start in rng.uniform(-lasts, ticks[-1] + 1, rng.poisson(_blink_count(ticks, clock))):
        # The lid falls in a third of the time that a blink takes and rises in the rest.
        since = (ticks - start) / lasts
        shut = np.maximum(shut, np.clip(np.minimum(since * 3, (1 - since) * 1.5), 0.0, 1.0))
    return shut


_BLINK_S, _BLINKS_A_SECOND = 0.28, 0.28


def _blink_count(ticks: NDArray[np.int64], clock: Clock) -> float:
    return float((ticks[-1] + 1) / clock.rate_hz + _BLINK_S) * _BLINKS_A_SECOND


def _smooth_step(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


class Manner:
    """How strongly, and how unevenly, one subject shows an intensity: the same in all frames."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw it."""
        spread = 1 + 0.08 * rng.standard_normal((len(UNITS), 1))
        self._gain = spread * (1 + 0.05 * rng.standard_normal((len(UNITS), 2)))

    def activations(self, levels: Levels) -> NDArray[np.float64]:
        """Return the shares (N, len(UNITS), 2) of full movement at each frame."""
        num_frames = len(next(iter(levels.values())))
        told = np.zeros((num_frames, len(UNITS)))
        for unit, intensities in levels.items():
            told[:, UNITS.index(unit)] = np.interp(
                intensities, np.arange(MAX_INTENSITY + 1), STRENGTH
            )
        return np.clip(told[..., None] * self._gain, 0.0, 1.2)
