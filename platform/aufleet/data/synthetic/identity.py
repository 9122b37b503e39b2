"""Who is seen: shape of the head, skin, age, brows, beard, hair, glasses, resting expression."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aufleet.data.synthetic.head import Vertices, head_mesh, lid_weight
from aufleet.data.synthetic.landmark_vertices import (
    LOWER_LID,
    SECOND_UPPER_LID,
    UPPER_LID,
)

_LIGHTEST_SKIN = np.array([0.91, 0.74, 0.65])
_OLIVE_SKIN = np.array([0.76, 0.56, 0.43])
_DARKEST_SKIN = np.array([0.32, 0.20, 0.14])
_HAIR_COLOURS = np.array(
    [[0.06, 0.05, 0.05], [0.16, 0.10, 0.07], [0.32, 0.20, 0.11], [0.58, 0.42, 0.24], [0.55] * 3]
)
_IRIS_COLOURS = np.array(
    [[0.20, 0.11, 0.06], [0.33, 0.20, 0.09], [0.30, 0.38, 0.28], [0.35, 0.47, 0.60]]
)
_RESTING_WRINKLES = ("forehead", "glabella", "crow", "fold", "mouth", "chin", "bag")

Colour = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Identity:
    """One person.

    Attributes:
        neutral: (N, 3) control vertices of the resting face, cm.
        skin: sRGB in [0, 1], as are all colours.
        age: 0 young to 1 old: resting wrinkles, skin unevenness, grey hair.
        resting_wrinkles: Region of the face -> depth in 0 to 1 at rest.
        beard: 0 none, 0.3 stubble, 1 full.
        hair_length: 0 bald, 1 short, 2 long.
        seed: Draws the texture's details.
    """

    neutral: Vertices
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    age: float
    resting_wrinkles: dict[str, float]
    brow_thickness: float
    brow_density: float
    beard: float
    hair_length: int
    hairline: float
    glasses: bool
    glasses_colour: Colour
    shine: float
    seed: int


def draw_identity(rng: np.random.Generator, *, male: bool | None = None) -> Identity:
    """Return a random person; None leaves the sex to chance."""
    age = float(rng.beta(1.4, 1.8))
    skin = _draw_skin(rng)
    hair = _HAIR_COLOURS[rng.choice(4, p=[0.3, 0.35, 0.22, 0.13])] * rng.uniform(0.7, 1.3)
    hair = hair + max(age - 0.6, 0) * 2 * rng.uniform(0, 1) * (_HAIR_COLOURS[4] - hair)
    drawn_male = rng.random() < 0.5
    male = drawn_male if male is None else male
    redness = 1 + np.array([0.05, -0.2, -0.15]) * rng.uniform(0.6, 1.6)
    return Identity(
        neutral=_draw_neutral(rng),
        skin=skin,
        hair=np.clip(hair, 0.03, 0.9),
        iris=_IRIS_COLOURS[rng.choice(4, p=[0.45, 0.25, 0.12, 0.18])] * rng.uniform(0.8, 1.2),
        lips=np.clip(skin * 0.88 * redness, 0.05, 1.0),
        clothes=rng.uniform(0.05, 0.85, 3),
        age=age,
        resting_wrinkles={
            region: float(age * rng.uniform(0.0, 0.55)) for region in _RESTING_WRINKLES
        },
        brow_thickness=float(rng.uniform(0.75, 1.3) + 0.15 * male),
        brow_density=float(rng.uniform(0.65, 0.95)),
        beard=float(rng.choice([0.0, 0.15, 0.35, 0.8], p=[0.4, 0.25, 0.2, 0.15])) if male else 0.0,
        hair_length=int(rng.choice([0, 1], p=[0.12, 0.88]) if male else rng.choice([1, 2])),
        hairline=float(rng.uniform(7.5, 9.2) - 1.3 * (rng.random() < 0.15)),
        glasses=bool(rng.random() < 0.2),
        glasses_colour=rng.uniform(0.02, 0.35) * np.ones(3) + rng.uniform(0, 0.06, 3),
        shine=float(rng.uniform(0.5, 1.5)),
        seed=int(rng.integers(2**31)),
    )


def _draw_skin(rng: np.random.Generator) -> Colour:
    tone = rng.beta(1.1, 1.3) * 2
    if tone < 1:
        skin = _LIGHTEST_SKIN + tone * (_OLIVE_SKIN - _LIGHTEST_SKIN)
    else:
        skin = _OLIVE_SKIN + (tone - 1) * (_DARKEST_SKIN - _OLIVE_SKIN)
    return np.clip(skin * rng.normal(1.0, 0.025, 3), 0.08, 0.97)


def _draw_neutral(rng: np.random.Generator) -> Vertices:
    """Return the mean head moved along every mode by a random amount."""
    mesh = head_mesh()
    modes = _shape_modes()
    moved = mesh.control + np.einsum("m,mnc->nc", rng.normal(0, 1, len(modes)).clip(-2, 2), modes)
    tilt = _asymmetry_modes()
    moved = moved + np.einsum("m,mnc->nc", rng.normal(0, 1, len(tilt)).clip(-2, 2), tilt)
    # Rims behind lids and lips go with them.
    return moved[mesh.rim] + (mesh.control - mesh.control[mesh.rim])


@cache
def _shape_modes() -> NDArray[np.float64]:
    """Return (M, N, 3) symmetric modes, each at one standard deviation in cm."""
    p = head_mesh().control
    across, side = np.abs(p[:, 0]), np.tanh(p[:, 0] / 0.5)

    def bell(out: float, up: float, width: float, height: float) -> NDArray[np.float64]:
        return np.exp(-0.5 * (((across - out) / width) ** 2 + ((p[:, 1] - up) / height) ** 2))

    def mode(
        weight: NDArray[np.float64], *, out: float = 0, up: float = 0, front: float = 0
    ) -> Vertices:
        return weight[:, None] * np.stack(
            [out * side, np.full(len(p), up), np.full(len(p), front)], axis=1
        )

    below, above = 1 / (1 + np.exp(p[:, 1] + 4)), 1 / (1 + np.exp(4.5 - p[:, 1]))
    upper = lid_weight(UPPER_LID, SECOND_UPPER_LID, share=0.7)
    lower = lid_weight(LOWER_LID)
    stretch = np.zeros_like(p)
    stretch[:, 0] = 0.035 * p[:, 0]
    length = np.zeros_like(p)
    length[:, 1] = 0.03 * (p[:, 1] + 1)
    return np.stack(
        [
            stretch,
            length,
            mode(below * across / 6, out=0.4),
            mode(below, up=-0.35),
            mode(bell(0, -8.5, 2.2, 1.4), front=0.4, up=-0.15),
            mode(above * across / 6, out=0.2),
            mode(above, up=0.3),
            mode(bell(5.3, 0.5, 1.4, 1.3), out=0.2, front=0.3),
            mode(bell(4.5, -3.0, 1.6, 1.6), out=0.25, front=0.3),
            mode(bell(0, -0.5, 1.0, 1.3), front=0.35),
            mode(bell(1.4, -1.0, 0.7, 0.8), out=0.2),
            mode(bell(0, -0.9, 1.4, 0.9), up=0.22),
            mode(bell(0, 2.2, 0.6, 1.5), front=0.25),
            mode(bell(2.0, 5.0, 3.5, 0.9), up=0.22),
            mode(bell(1.4, 5.0, 1.1, 0.8), up=0.14) - mode(bell(4.7, 4.8, 1.2, 0.8), up=0.14),
            mode(bell(2.5, 4.3, 3.0, 0.7), front=0.22),
            mode(upper, up=0.085),
            mode(lower, up=0.05),
            mode(bell(3.2, 2.6, 2.0, 1.2), up=0.05, out=0.08),
            mode(bell(0, -4.3, 2.8, 1.3) * np.minimum(across / 2.4, 1), out=0.16),
            mode(bell(2.5, -4.3, 0.8, 0.7), up=0.11),
            mode(bell(0, -3.4, 1.5, 0.4), up=0.11, front=0.1),
            mode(bell(0, -5.3, 1.5, 0.45), up=-0.11, front=0.1),
            mode(bell(0, -4.3, 2.8, 1.5), up=0.18),
            mode(bell(2.9, -2.0, 0.8, 1.2), front=-0.12),
        ]
    )


@cache
def _asymmetry_modes() -> NDArray[np.float64]:
    """Return (M, N, 3) modes in which one half differs from the other, at one deviation in cm."""
    x = head_mesh().control[:, 0]
    half = np.tanh(x / 1.5)[None, :, None]
    chosen = [3, 7, 11, 13, 14, 16, 18, 20, 23]
    return 0.3 * _shape_modes()[chosen] * half
