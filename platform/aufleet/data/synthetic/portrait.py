"""Photos of synthetic people: the whole head, not aligned."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aufleet.data.synthetic.expressions import activations_of
from aufleet.data.synthetic.identity import draw_identity
from aufleet.data.synthetic.palsy import Palsy
from aufleet.data.synthetic.render import FaceModel, RenderedFace
from aufleet.data.synthetic.scene import draw_scene
from aufleet.errors import ConfigError

HEIGHT_CM = 38.0
"""What a photo shows from top to bottom."""


def render_portrait(
    *,
    seed: int,
    intensities: Mapping[int, int] | None = None,
    palsy: Palsy | None = None,
    size_px: int = 512,
) -> RenderedFace:
    """Return a photo of a person with exact landmarks; the same arguments give the same bytes.

    Args:
        seed: Draws person, pose, light and background.
        intensities: Unit -> 0 to 5, what both sides are told to do.
        palsy: What one side cannot do.
        size_px: Side of the square photo.

    Raises:
        ConfigError: The photo would be too small.
        EnvironmentProblem: The face mesh is not installed.
    """
    if size_px < 64:
        raise ConfigError(f"a photo of {size_px} pixels is too small", "at least 64 are needed")
    rng = np.random.default_rng([seed, size_px])
    model = FaceModel(draw_identity(rng), palsy=palsy)
    scene = draw_scene(rng)
    scene = replace(scene, noise=min(scene.noise, 2.0))
    scale = size_px / HEIGHT_CM * rng.uniform(0.9, 1.1)
    middle = size_px * (0.5 + rng.uniform(-0.05, 0.05, 2)) - np.array([0.0, 0.04 * size_px])
    to_frame = np.column_stack([scale * np.eye(2), middle])
    activations = activations_of(intensities or {}, rng=rng)
    return model.render_photo(activations, scene, size_px=size_px, to_frame=to_frame, rng=rng)
