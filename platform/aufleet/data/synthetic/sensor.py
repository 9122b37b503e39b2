"""Inner loops of the camera: from linear light to the levels that it stores, with their noise."""

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.compiling import HALF, ONE, ZERO, Floats, exactly_compiled

Bytes = NDArray[np.uint8]


@exactly_compiled
def store_light(linear: Floats, result: Floats) -> None:
    """Fill result (N,) with the levels, 0 to 255, in which a camera stores linear light (N,)."""
    for k in range(len(linear)):
        light = min(max(linear[k], ZERO), ONE)
        result[k] = np.sqrt(light) * np.float32(255)


@exactly_compiled
def add_noise(levels: Floats, noise: Floats, strength: np.float32, result: Bytes) -> None:
    """Fill result (H, W, 3) with levels and a sensor's noise (H, W), which is grey."""
    for y in range(levels.shape[0]):
        for x in range(levels.shape[1]):
            grain = strength * noise[y, x]
            for k in range(3):
                level = levels[y, x, k] + grain + HALF
                result[y, x, k] = np.uint8(min(max(level, ZERO), np.float32(255)))
